import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { AUTHORITY_FILES, notInOrder, readCertificateFile } from './ceremony-files.ts';
import { replaceFile } from './staging-folder.ts';

/** Only in the folder of a generation whose root took the place of another (RFC 9810 4.4). */
export const CROSS_FILES = { newWithOld: 'new-with-old.pem', oldWithNew: 'old-with-new.pem' } as const;

/** An issuing CA with the root above it. */
export type CaGenerationFolder = {
  /** 1, 2, ... in the order in which they were made. */
  number: number;
  dir: string;
  root: Certificate;
  intermediate: Certificate;
  newWithOld?: Certificate;
  oldWithNew?: Certificate;
};

const issuingSchema = z.strictObject({
  version: z.literal(1),
  /** Subject key id of the intermediate. */
  keyId: z.string().regex(/^[0-9a-f]{40}$/),
});

/**
 * Every generation, oldest first. Before there was a second one the authority's folder itself is the first; from then on
 * `generations/` holds them all, and `root.pem` and `intermediate.pem` beside it are copies of those in use.
 * @param above only those with a higher number; 0: all
 * @throws AuthorityError AUTHORITY_FAILED when one does not chain to its root
 */
export async function readGenerations(dir: string, above = 0): Promise<CaGenerationFolder[]> {
  const numbers = await listNumbers(dir);
  if (numbers.length === 0) return above === 0 ? [await readGeneration(dir, 1)] : [];
  const generations: CaGenerationFolder[] = [];
  for (const number of numbers.filter((number) => number > above))
    generations.push(await readGeneration(generationFolder(dir, number), number));
  return generations;
}

export function generationFolder(dir: string, number: number): string {
  return join(dir, AUTHORITY_FILES.generations, String(number));
}

/** What a ceremony that was broken off has left has another name and is not looked at. */
async function listNumbers(dir: string): Promise<number[]> {
  const names = await readdir(join(dir, AUTHORITY_FILES.generations)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw notInOrder(dir, error);
  });
  return names
    .filter((name) => /^[1-9]\d{0,5}$/.test(name))
    .map(Number)
    .toSorted((a, b) => a - b);
}

async function readGeneration(dir: string, number: number): Promise<CaGenerationFolder> {
  const root = await readCertificateFile(dir, AUTHORITY_FILES.rootCertificate);
  const intermediate = await readCertificateFile(dir, AUTHORITY_FILES.intermediateCertificate);
  const newWithOld = await readIfThere(dir, CROSS_FILES.newWithOld);
  const oldWithNew = await readIfThere(dir, CROSS_FILES.oldWithNew);
  try {
    // Dates are not checked: an expired CA still signs CRLs, and says itself why it does not issue.
    validatePath(intermediate, { intermediates: [], anchors: [root] });
    if (newWithOld !== undefined && !newWithOld.publicKey.equals(root.publicKey))
      throw new Error(`${CROSS_FILES.newWithOld} is for another key than that of the root`);
    if (oldWithNew !== undefined) validatePath(oldWithNew, { intermediates: [], anchors: [root] });
  } catch (cause) {
    throw notInOrder(dir, cause);
  }
  return {
    number,
    dir,
    root,
    intermediate,
    ...(newWithOld !== undefined && { newWithOld }),
    ...(oldWithNew !== undefined && { oldWithNew }),
  };
}

async function readIfThere(dir: string, name: string): Promise<Certificate | undefined> {
  const isThere = await access(join(dir, name)).then(
    () => true,
    () => false,
  );
  return isThere ? readCertificateFile(dir, name) : undefined;
}

/** @returns key id of the intermediate that issues, as it was last activated; undefined: the first. */
export async function readIssuing(dir: string): Promise<string | undefined> {
  const path = join(dir, AUTHORITY_FILES.issuing);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw notInOrder(dir, error);
  }
  try {
    return issuingSchema.parse(JSON.parse(text)).keyId;
  } catch (cause) {
    throw new AuthorityError('AUTHORITY_FAILED', `${path} does not name an issuer`, { cause });
  }
}

/** @throws AuthorityError AUTHORITY_FAILED when the one that is to issue is not there */
export async function findIssuing(
  dir: string,
  generations: readonly CaGenerationFolder[],
): Promise<CaGenerationFolder> {
  const keyId = await readIssuing(dir);
  const found =
    keyId === undefined ? generations[0] : generations.find(({ intermediate }) => intermediate.subjectKeyId === keyId);
  if (found !== undefined) return found;
  throw new AuthorityError('AUTHORITY_FAILED', `the issuer in use, ${keyId ?? 'the first'}, is not in ${dir}`);
}

/** From now on this one issues, durably. */
export async function writeIssuing(dir: string, generation: CaGenerationFolder): Promise<void> {
  const keyId = generation.intermediate.subjectKeyId;
  await replaceFile(
    join(dir, AUTHORITY_FILES.issuing),
    `${JSON.stringify({ version: 1, keyId }, undefined, 2)}\n`,
    0o644,
  );
  await showIssuing(dir, generation);
}

/** Where everybody looks for them. Done again at every start: the power may go between the two. */
export async function showIssuing(dir: string, { root, intermediate }: CaGenerationFolder): Promise<void> {
  const shown = [
    [AUTHORITY_FILES.rootCertificate, root],
    [AUTHORITY_FILES.intermediateCertificate, intermediate],
  ] as const;
  for (const [name, certificate] of shown) {
    const pem = formatPem('CERTIFICATE', certificate.der);
    const path = join(dir, name);
    if ((await readFile(path, 'utf8').catch(() => '')) !== pem) await replaceFile(path, pem, 0o644);
  }
}
