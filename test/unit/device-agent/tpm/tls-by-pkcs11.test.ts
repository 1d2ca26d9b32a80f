import 'reflect-metadata';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { softwareKeys } from '#device-agent/keys/software-keys.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import { labelOf, Pkcs11Store } from '#device-agent/tpm/pkcs11-store.ts';
import { TpmDevice } from '#device-agent/tpm/tpm-device.ts';
import { createTpmKeys } from '#device-agent/tpm/tpm-keys.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { createTpmMaker, type TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import { ResourceManager } from '#test/fixtures/tpm/resource-manager.ts';
import { TlsClientProcess } from '#test/fixtures/tpm/tls-client-process.ts';
import { TlsDoor } from '#test/fixtures/tpm/tls-door.ts';
import { lacksPkcs11 } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(await lacksPkcs11())('TLS by PKCS#11 with a key that lives in the TPM', () => {
  let maker: TpmMaker;
  let tpm: SoftwareTpm;
  let manager: ResourceManager;
  let folder: string;
  let door: TlsDoor;
  let key: string;
  let certificates: string;
  const clients: TlsClientProcess[] = [];
  const newKey = () => createTpmKeys(device(manager.tcti)).generate('ec-p256');
  const storeAt = (name: string) => new Pkcs11Store(join(folder, name), manager.tcti);

  beforeAll(async () => {
    maker = await createTpmMaker();
    tpm = await maker.makeTpm();
    manager = await ResourceManager.start(tpm);
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-pkcs11-'));
    door = await TlsDoor.open();
    const made = await newKey();
    key = made.pem;
    certificates = await door.certify(made.publicKey, 'pump-17');
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
  });
  afterAll(async () => {
    door?.close();
    await manager?.stop();
    await maker?.dispose();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  it('shows the certificate and proves the key to a server that demands it, over and over', async () => {
    const client = start();
    const { ms } = await client.order({ kind: 'dial', port: door.port, times: 30 });
    expect(ms).toHaveLength(30);
    expect(door.peers.at(-1)).toEqual({ name: 'pump-17', authorized: true });
  });

  it('keeps all that to its owner, and the PIN out of what it says', async () => {
    const path = join(folder, 'store');
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    expect((await stat(join(path, 'pin'))).mode & 0o777).toBe(0o600);
    expect((await readdir(path)).toSorted()).toEqual(['linked.json', 'pin', 'tpm2_pkcs11.sqlite3']);
    const pin = await readFile(join(path, 'pin'), 'utf8');
    expect(pin).toMatch(/^[0-9a-f]{24}$/);
    expect(storeAt('store').uriOf(key)).not.toContain(pin);
  });

  it('links the keys that are there and unlinks those that are not, once each', async () => {
    const store = storeAt('links');
    const [first, second] = [await newKey(), await newKey()];
    expect(await store.hold([first.pem, (await softwareKeys.generate('ec-p256')).pem])).toEqual(new Map());
    expect(await store.hold([first.pem, second.pem])).toEqual(new Map());
    expect(await labelsIn('links')).toEqual([first.pem, second.pem].map(labelOf).toSorted());
    await store.hold([second.pem]);
    expect(await labelsIn('links')).toEqual([labelOf(second.pem)]);
  });

  it('names a key that is of another TPM, and links the others', async () => {
    const store = storeAt('foreign');
    await store.hold([key]);
    const other = await maker.makeTpm();
    const foreign = await createTpmKeys(device(other.tcti)).generate('ec-p256');
    const refused = await store.hold([key, foreign.pem]);
    expect([...refused].map(([label, { tpmCode }]) => [label, tpmCode])).toEqual([[labelOf(foreign.pem), 'WRONG_TPM']]);
    expect(await labelsIn('foreign')).toEqual([labelOf(key)]);
    await other.powerCut();
  });

  it('makes the store anew in the next process when it is damaged', async () => {
    await storeAt('store').hold([key]);
    await writeFile(join(folder, 'store', 'tpm2_pkcs11.sqlite3'), 'no database');
    expect(await start().order({ kind: 'dial', port: door.port })).toMatchObject({ tpmCode: 'PROVIDER_UNFIT' });
    expect((await start().order({ kind: 'dial', port: door.port })).ms).toHaveLength(1);
  });

  it('gives its connection to the TPM up when the resource manager was restarted', async () => {
    const client = start();
    await client.order({ kind: 'dial', port: door.port });
    await manager.restart(tpm);
    expect(await client.order({ kind: 'dial', port: door.port })).toMatchObject({ code: 'TPM_UNUSABLE', isDead: true });
    const again = start();
    expect(await again.order({ kind: 'dial', port: door.port })).toMatchObject({
      isDead: false,
      ms: expect.any(Array) as number[],
    });
  });

  it('is measured beside a key in a file', async () => {
    const made = await softwareKeys.generate('ec-p256');
    const inFile = start({ key: made.pem, certificates: await door.certify(made.publicKey, 'pump-18') });
    const inTpm = start();
    for (const client of [inFile, inTpm]) await client.order({ kind: 'dial', port: door.port, times: 5 });
    const [file, chip] = [
      await inFile.order({ kind: 'dial', port: door.port, times: 60 }),
      await inTpm.order({ kind: 'dial', port: door.port, times: 60 }),
    ];
    console.info(
      `handshake p50: key in a file ${median(file.ms ?? []).toFixed(1)} ms, key in a software TPM by PKCS#11 ${median(chip.ms ?? []).toFixed(1)} ms; ` +
        `memory ${mebibytes(file.memory)} and ${mebibytes(chip.memory)} MiB`,
    );
    expect(chip.ms).toHaveLength(60);
  });

  function start(own: { key?: string; certificates?: string } = {}): TlsClientProcess {
    const setting = {
      tcti: manager.tcti,
      key,
      certificates,
      anchors: door.rootPem,
      pkcs11: join(folder, 'store'),
      ...own,
    };
    const client = new TlsClientProcess(setting, undefined);
    clients.push(client);
    return client;
  }

  async function labelsIn(name: string): Promise<string[]> {
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(join(folder, name, 'tpm2_pkcs11.sqlite3'), { readOnly: true });
    try {
      const rows = database.prepare('SELECT attrs FROM tobjects').all();
      // CKA_CLASS 0 is CKO_PRIVATE_KEY 3, CKA_LABEL is 3.
      const ofPrivate = rows.map(({ attrs }) => String(attrs)).filter((attrs) => /int "0"\s*: !!int "3"/.test(attrs));
      return ofPrivate
        .map((attrs) => Buffer.from(/int "3"\s*: !!str "([0-9a-f]+)"/.exec(attrs)?.[1] ?? '', 'hex').toString())
        .toSorted();
    } finally {
      database.close();
    }
  }
});

function device(tcti: string): TpmDevice {
  return new TpmDevice({ store: new MemoryStateStore(), tcti, create: true });
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}
