import { mkdir, open, readdir, readFile, readlink, rename, rm, symlink } from 'node:fs/promises';

/**
 * The few steps the state folder is made of, one call of the system each, so that a test can cut the power between any
 * two. Nothing is durable before its sync: content by `syncFile`, names (new, renamed, removed) by `syncFolder`.
 */
export interface Disk {
  /** @returns undefined when there is none. */
  readFile(path: string): Promise<Buffer | undefined>;
  /** Where a symlink points, undefined when there is none. */
  readLink(path: string): Promise<string | undefined>;
  /** Names in a folder; empty when there is no such folder. */
  list(path: string): Promise<string[]>;
  /** Mode 0700; one that exists is left alone. */
  makeFolder(path: string): Promise<void>;
  /** Creates or overwrites. */
  writeFile(path: string, content: Uint8Array, mode: number): Promise<void>;
  syncFile(path: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
  link(target: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** A file, a link, or a folder with all in it; nothing to do when there is none. */
  remove(path: string): Promise<void>;
}

export const systemDisk: Disk = {
  readFile: (path) => orUndefined(readFile(path)),
  readLink: (path) => orUndefined(readlink(path)),
  list: async (path) => (await orUndefined(readdir(path))) ?? [],
  makeFolder: async (path) => {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  writeFile: async (path, content, mode) => {
    const file = await open(path, 'w', mode);
    try {
      // The mode of `open` is cut by the umask and ignored for a file that exists.
      await file.chmod(mode);
      await file.writeFile(content);
    } finally {
      await file.close();
    }
  },
  syncFile: sync,
  syncFolder: sync,
  link: symlink,
  rename,
  remove: (path) => rm(path, { recursive: true, force: true }),
};

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
