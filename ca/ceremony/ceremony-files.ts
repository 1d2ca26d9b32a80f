import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';

/** Names inside the authority's folder. */
export const AUTHORITY_FILES = {
  description: 'authority.json',
  rootCertificate: 'root.pem',
  /** To be moved offline, with its passphrase. */
  rootKey: 'root.key.pem',
  rootPassphrase: 'root-passphrase',
  /** DER: which intermediates a root has revoked; the gateway gives it out. Of a later root: in its generation's folder. */
  rootCrl: 'root.crl',
  intermediateCertificate: 'intermediate.pem',
  intermediateKey: 'intermediate.key.pem',
  passphrase: 'passphrase',
  journal: 'journal.jsonl',
  /** The last complete list of each issuer. */
  lists: 'lists',
  /** Where status is found, now and before; see used-status-urls.ts. */
  statusUrls: 'status-urls.json',
  /** Folders 1, 2, ... of issuing CAs, once there has been a second one; see generation-folders.ts. */
  generations: 'generations',
  /** Which of them issues. */
  issuing: 'issuing.json',
} as const;

/** The first certificate of a PEM file. @throws AuthorityError AUTHORITY_FAILED */
export async function readCertificateFile(dir: string, name: string): Promise<Certificate> {
  const text = await readTextFile(dir, name);
  try {
    const [der] = parsePem(text, 'CERTIFICATE');
    if (der !== undefined) return parseCertificate(der);
  } catch (cause) {
    throw new AuthorityError('AUTHORITY_FAILED', `${join(dir, name)} is not a certificate`, { cause });
  }
  throw new AuthorityError('AUTHORITY_FAILED', `${join(dir, name)} is empty`);
}

export async function readTextFile(dir: string, name: string): Promise<string> {
  try {
    return await readFile(join(dir, name), 'utf8');
  } catch (cause) {
    const advice = `${join(dir, name)} cannot be read: is there an authority? Make one with "gatehouse ca init"`;
    throw new AuthorityError('AUTHORITY_FAILED', advice, { cause });
  }
}

export function notInOrder(dir: string, cause: unknown): AuthorityError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new AuthorityError('AUTHORITY_FAILED', `the authority's folder ${dir} is not in order: ${reason}`, { cause });
}
