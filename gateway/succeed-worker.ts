import { readFile } from 'node:fs/promises';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store } from '#gateway/ports/store.ts';
import { writeDurableFile } from './runtime/durable-file.ts';

/**
 * The name under which this process takes leases. Whoever ran on this folder before has ended, since the folder's lock
 * is ours: what it held after a kill need not run out first. Only to be called under that lock.
 * @param path of the file that names the process before
 */
export async function succeedWorker(
  { store, random }: { store: Pick<Store, 'write'>; random: Randomness },
  path: string,
): Promise<string> {
  const previous = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (previous !== undefined) await store.write(({ leases }) => leases.releaseAll(previous.trim()));
  const worker = random.id('w');
  await writeDurableFile(path, `${worker}\n`, 0o600);
  return worker;
}
