import { z } from 'zod';
import { isTrustDomain } from '#ca/issuance/subject-names.ts';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { AUTHORITY_FILES, notInOrder, readCertificateFile, readTextFile } from './ceremony-files.ts';
import { type CaGenerationFolder, findIssuing, readGenerations } from './generation-folders.ts';

/** authority.json. Unknown fields are refused: a newer version's folder is not to be guessed at. */
const authorityDescriptionSchema = z.strictObject({
  version: z.literal(1),
  /** Stands in the URI of every device certificate; cannot be changed later. */
  trustDomain: z.string().refine(isTrustDomain),
  /** Milliseconds UTC. */
  createdAt: z.int().nonnegative(),
});

export type AuthorityFolder = {
  trustDomain: string;
  createdAt: number;
  /** Of the generation that issues. */
  root: Certificate;
  intermediate: Certificate;
  /** Oldest first, at least one. */
  generations: CaGenerationFolder[];
};

/**
 * What the ceremonies left, without keys; every intermediate is checked against its root.
 * @throws AuthorityError AUTHORITY_FAILED saying what is missing or wrong
 */
export async function readAuthorityFolder(dir: string): Promise<AuthorityFolder> {
  const description = await readTextFile(dir, AUTHORITY_FILES.description);
  const generations = await readGenerations(dir);
  const { root, intermediate } = await findIssuing(dir, generations);
  try {
    const { trustDomain, createdAt } = authorityDescriptionSchema.parse(JSON.parse(description));
    return { trustDomain, createdAt, root, intermediate, generations };
  } catch (cause) {
    throw notInOrder(dir, cause);
  }
}

/**
 * Root and intermediate alone, checked against each other: all there is in the data folder of a gateway whose authority
 * runs elsewhere.
 * @throws AuthorityError AUTHORITY_FAILED saying what is missing or wrong
 */
export async function readAuthorityCertificates(dir: string): Promise<Pick<AuthorityFolder, 'root' | 'intermediate'>> {
  const root = await readCertificateFile(dir, AUTHORITY_FILES.rootCertificate);
  const intermediate = await readCertificateFile(dir, AUTHORITY_FILES.intermediateCertificate);
  try {
    // Dates are not checked: an expired CA still signs CRLs, and says itself why it does not issue.
    validatePath(intermediate, { intermediates: [], anchors: [root] });
    return { root, intermediate };
  } catch (cause) {
    throw notInOrder(dir, cause);
  }
}
