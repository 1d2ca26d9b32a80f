import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Where distributions keep shared objects. */
const LIBRARY_FOLDERS = ['/usr/lib', '/usr/lib64', '/usr/local/lib', '/usr/local/lib64'];

/** Every place where a shared object can be. @param path below a library folder, e.g. `ossl-modules/tpm2.so`. */
export async function listLibraryPaths(path: string): Promise<string[]> {
  const places: string[] = [];
  for (const folder of LIBRARY_FOLDERS) {
    places.push(join(folder, path));
    // Debian: /usr/lib/x86_64-linux-gnu/ossl-modules
    const triplets = (await readdir(folder).catch(() => [])).filter((name) => name.includes('-linux-'));
    places.push(...triplets.map((triplet) => join(folder, triplet, path)));
  }
  return places;
}

/** @returns the first that is there. @param paths below a library folder, the best first. */
export async function findLibrary(...paths: string[]): Promise<string | undefined> {
  for (const path of paths) {
    for (const place of await listLibraryPaths(path)) {
      const isThere = await access(place).then(
        () => true,
        () => false,
      );
      if (isThere) return place;
    }
  }
  return undefined;
}
