import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StatusListArchive } from '#gateway/ports/status-list-archive.ts';

/** A file for each list in a folder of its own, readable by everybody: they are public. */
export function statusListFiles(folder: string): StatusListArchive {
  const path = (name: string) => join(folder, `${name}.crl`);
  return {
    async save(name, der) {
      await mkdir(folder, { recursive: true, mode: 0o755 });
      const temporary = `${path(name)}.tmp`;
      try {
        // No fsync: it would hold up those of the database, and a list that is lost is made again.
        await writeFile(temporary, der, { mode: 0o644 });
        await rename(temporary, path(name));
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    },
    load: (name) =>
      readFile(path(name)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      }),
  };
}
