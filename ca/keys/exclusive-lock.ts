import { chmodSync } from 'node:fs';
import Database from 'better-sqlite3';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';

/**
 * Held until closed or until the process is gone, however it went: the kernel's file lock, reached through SQLite because
 * Node has no call for it. A file with a process id in it would outlive `kill -9` and lie in a container, where every
 * process is number 1.
 * @throws AuthorityError AUTHORITY_FAILED when another process, or this one, holds it
 */
export function takeExclusiveLock(path: string): { release(): void } {
  const database = new Database(path, { timeout: 0 });
  try {
    chmodSync(path, 0o600);
    database.pragma('locking_mode = EXCLUSIVE');
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw new AuthorityError('AUTHORITY_FAILED', `${path} is held: another authority runs on this folder`, { cause });
  }
  return { release: () => database.close() };
}
