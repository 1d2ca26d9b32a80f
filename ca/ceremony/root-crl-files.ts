import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { type Crl, parseCrl, verifyCrlSignature } from '#ca/revocation/parse-crl.ts';
import { AUTHORITY_FILES } from './ceremony-files.ts';
import { type CaGenerationFolder, generationFolder } from './generation-folders.ts';

/** `path`: where the list of a root belongs. `previous`: the newest one that it has signed. */
export type RootCrlPlace = { path: string; previous: Crl | undefined };

/**
 * Each root has a list of its own: that of the first one beside its certificate, that of a later one in the folder of the
 * generation it was made with. A root that was replaced must not take the list of the other one's place: what it has
 * revoked would be on none.
 * @param dir of the authority @param generations oldest first
 * @throws AuthorityError AUTHORITY_FAILED when a list cannot be read: numbers must not go back
 */
export async function findRootCrl(
  dir: string,
  generations: readonly CaGenerationFolder[],
  root: Certificate,
): Promise<RootCrlPlace> {
  const madeWith = generations.find((one) => one.root.sha256 === root.sha256)?.number ?? 1;
  const own = madeWith === 1 ? dir : generationFolder(dir, madeWith);
  const paths = [own, dir].map((folder) => join(folder, AUTHORITY_FILES.rootCrl));
  const found: (RootCrlPlace & { previous: Crl })[] = [];
  for (const path of new Set(paths)) {
    const previous = await readList(path);
    // A version of before has put the lists of all roots in one place.
    if (previous !== undefined && verifyCrlSignature(previous, root.publicKey)) found.push({ path, previous });
  }
  const [newest] = found.toSorted((a, b) => b.previous.number - a.previous.number);
  return newest ?? { path: paths[0] ?? '', previous: undefined };
}

async function readList(path: string): Promise<Crl | undefined> {
  let der: Buffer;
  try {
    der = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new AuthorityError('AUTHORITY_FAILED', `the CRL ${path} cannot be read`, { cause: error });
  }
  try {
    return parseCrl(der);
  } catch (cause) {
    const advice = `${path} is not a CRL: move it away, and what it listed has to be revoked again`;
    throw new AuthorityError('AUTHORITY_FAILED', advice, { cause });
  }
}
