import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Store } from '#gateway/ports/store.ts';
import { openSqliteStore, type SqliteStoreOptions } from '#gateway/store/sqlite-store.ts';

export type TemporaryStore = AsyncDisposable & {
  store: Store;
  /** The database file, in a folder of its own. */
  path: string;
  /** Closes the store and removes the folder. */
  close: () => Promise<void>;
};

/** The real store on a file of its own: fast enough that no test needs an imitation. */
export async function openTemporaryStore(options: SqliteStoreOptions = {}): Promise<TemporaryStore> {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-store-'));
  const path = join(folder, 'gatehouse.db');
  const remove = () => rm(folder, { recursive: true, force: true });
  const store = await openSqliteStore(path, options).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  const close = async () => {
    await store.close();
    await remove();
  };
  return { store, path, close, [Symbol.asyncDispose]: close };
}
