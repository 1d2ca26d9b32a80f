import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeptLists } from '#ca/ports/kept-lists.ts';

/** One file a list, named after scope and number, in a folder made 0700. */
export function keptListFiles(folder: string): KeptLists {
  const path = (scope: string, number: number) => join(folder, `${scope}-${number}.crl`);
  return {
    async keep(scope, number, der) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const temporary = `${path(scope, number)}.tmp`;
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile(der);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path(scope, number));
      await using directory = await open(folder, 'r');
      await directory.sync();
    },
    async dropBefore(scope, number) {
      for (const name of await readdir(folder).catch(() => [])) {
        const found = name.startsWith(`${scope}-`) ? /^(\d{1,16})\.crl/.exec(name.slice(scope.length + 1)) : null;
        if (found !== null && Number(found[1]) < number) await rm(join(folder, name), { force: true });
      }
    },
    find: (scope, number) =>
      readFile(path(scope, number)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      }),
  };
}
