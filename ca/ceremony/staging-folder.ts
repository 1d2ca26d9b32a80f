import { randomBytes } from 'node:crypto';
import { mkdtemp, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

/** Older ones were left by a crash; younger ones may belong to a ceremony at work. */
const STALE_AFTER = 10 * 60 * 1000;

/**
 * Builds a folder beside its place and puts it there with one rename, so that it is there whole or not at all.
 * @param build writes into the folder it is given (0700)
 * @throws what build throws; ENOTEMPTY or EEXIST when the place is taken
 */
export async function buildFolder(target: string, build: (staging: string) => Promise<void>): Promise<void> {
  const place = resolve(target);
  const parent = dirname(place);
  const prefix = `.${basename(place)}.making-`;
  await removeStale(parent, prefix);
  const staging = await mkdtemp(join(parent, prefix));
  try {
    await build(staging);
    await syncFolder(staging);
    // rename(2) takes the place of an empty folder, and of nothing else.
    await rename(staging, place);
    await syncFolder(parent);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
}

/** A new file, never one that is there; on the disk when this resolves. */
export async function writeNewFile(path: string, content: string | Uint8Array, mode: 0o600 | 0o644): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Takes the place of a file that may be there: after a power cut there is the old one or the new one, whole. */
export async function replaceFile(path: string, content: string | Uint8Array, mode: 0o600 | 0o644): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await writeNewFile(temporary, content, mode);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

async function removeStale(parent: string, prefix: string): Promise<void> {
  const names = await readdir(parent);
  for (const name of names.filter((name) => name.startsWith(prefix))) {
    const path = join(parent, name);
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > STALE_AFTER) await rm(path, { recursive: true, force: true });
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
