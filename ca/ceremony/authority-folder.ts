import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isTrustDomain } from '#ca/issuance/subject-names.ts';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';

/** Names inside the authority's folder. */
export const AUTHORITY_FILES = {
  description: 'authority.json',
  rootCertificate: 'root.pem',
  /** To be moved offline, with its passphrase. */
  rootKey: 'root.key.pem',
  rootPassphrase: 'root-passphrase',
  intermediateCertificate: 'intermediate.pem',
  intermediateKey: 'intermediate.key.pem',
  passphrase: 'passphrase',
  journal: 'journal.jsonl',
} as const;

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
  root: Certificate;
  intermediate: Certificate;
};

/**
 * What the ceremony left, without keys; the intermediate is checked against the root.
 * @throws AuthorityError AUTHORITY_FAILED saying what is missing or wrong
 */
export async function readAuthorityFolder(dir: string): Promise<AuthorityFolder> {
  const description = await readText(dir, AUTHORITY_FILES.description);
  const certificates = await readAuthorityCertificates(dir);
  try {
    const { trustDomain, createdAt } = authorityDescriptionSchema.parse(JSON.parse(description));
    return { trustDomain, createdAt, ...certificates };
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
  const root = await readCertificate(dir, AUTHORITY_FILES.rootCertificate);
  const intermediate = await readCertificate(dir, AUTHORITY_FILES.intermediateCertificate);
  try {
    // Dates are not checked: an expired CA still signs CRLs, and says itself why it does not issue.
    validatePath(intermediate, { intermediates: [], anchors: [root] });
    return { root, intermediate };
  } catch (cause) {
    throw notInOrder(dir, cause);
  }
}

function notInOrder(dir: string, cause: unknown): AuthorityError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new AuthorityError('AUTHORITY_FAILED', `the authority's folder ${dir} is not in order: ${reason}`, { cause });
}

async function readCertificate(dir: string, name: string): Promise<Certificate> {
  const text = await readText(dir, name);
  try {
    const [der] = parsePem(text, 'CERTIFICATE');
    if (der !== undefined) return parseCertificate(der);
  } catch (cause) {
    throw new AuthorityError('AUTHORITY_FAILED', `${join(dir, name)} is not a certificate`, { cause });
  }
  throw new AuthorityError('AUTHORITY_FAILED', `${join(dir, name)} is empty`);
}

async function readText(dir: string, name: string): Promise<string> {
  try {
    return await readFile(join(dir, name), 'utf8');
  } catch (cause) {
    const advice = `${join(dir, name)} cannot be read: is there an authority? Make one with "gatehouse ca init"`;
    throw new AuthorityError('AUTHORITY_FAILED', advice, { cause });
  }
}
