import { writeSync } from 'node:fs';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';
import { addDevices, certificateOf, entryAbout } from './store-records.ts';

/**
 * Writes certificates with their audit events until it is killed: `<file> <name> <concurrency>`. Prints one line for
 * each write that was acknowledged, at once and unbuffered, so that the test knows what had been promised.
 */
const [path, name, concurrency] = process.argv.slice(2);
if (path === undefined || name === undefined) throw new Error('which file, and who am I?');

const store = await openSqliteStore(path);
const [deviceId] = await addDevices(store, name);
const base = name.charCodeAt(0) * 1_000_000;
let next = 0;

async function writeForEver(): Promise<never> {
  for (;;) {
    const n = base + next++;
    await store.write(async ({ certificates, audit }) => {
      await certificates.insert(certificateOf(deviceId ?? null, n));
      await audit.append(entryAbout(name ?? '', { action: 'certificate.issued', detail: String(n) }));
    });
    writeSync(1, `${n}\n`);
  }
}

await Promise.all(Array.from({ length: Number(concurrency) }, writeForEver));
