import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { classifyPublicKey } from '#ca/pkix/public-key.ts';
import { formatSignatureAlgorithm, signatureAlgorithmFor, signMessage } from '#ca/pkix/signature-algorithm.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { formatCrl, formatRevokedEntry, formatTbsCrl } from '#ca/revocation/crl.ts';
import { type Crl, parseCrl, verifyCrlSignature } from '#ca/revocation/parse-crl.ts';
import { parseRevocationReason, type RevocationReason } from '#ca/revocation/reasons.ts';
import { AUTHORITY_FILES } from './ceremony-files.ts';
import { readDiscarded } from './discard-generation.ts';
import { findIssuing, readGenerations } from './generation-folders.ts';
import type { KeyedCa } from './make-ca.ts';
import { openRootKey, type RootKeyFiles } from './open-root-key.ts';
import { replaceFile } from './staging-folder.ts';

export type RootCrlOptions = RootKeyFiles & {
  /** Serial of an intermediate of this root, hexadecimal, to be revoked as well; left out: the list is only renewed. */
  revoke?: string;
  /** RFC 5280 5.3.1; default unspecified. */
  reason?: string;
  /** How long the list is good for; default and most 400. */
  days?: number;
  /** Milliseconds UTC; default now. */
  now?: number;
};

export type RootCrlResult = { path: string; number: number; nextUpdate: number; revoked: string[] };

const DAY = 24 * 60 * 60 * 1000;
/** A root comes out of its safe once a year. */
const MOST_DAYS = 400;

/**
 * Renews the root's list of revoked intermediates in the authority's folder: what it listed stays listed, its number
 * rises. Relying parties that check a whole chain need it (RFC 5280 6.3), though nothing is on it.
 * @throws AuthorityError AUTHORITY_FAILED when the root key is not at hand, or there is no such intermediate
 */
export async function signRootCrl(dir: string, options: RootCrlOptions = {}): Promise<RootCrlResult> {
  const generations = await readGenerations(dir);
  const generation = await findIssuing(dir, generations);
  const path = join(dir, AUTHORITY_FILES.rootCrl);
  const now = options.now ?? Date.now();
  const { days = MOST_DAYS } = options;
  if (!(days > 0 && days <= MOST_DAYS)) throw failed(`a CRL of the root is good for up to ${MOST_DAYS} days`);
  const root = await openRootKey(dir, generation, options);
  const previous = await readPrevious(path, root);
  const revoked = new Map(previous?.revoked);
  if (options.revoke !== undefined) {
    const serial = options.revoke.toLowerCase().replaceAll(':', '').padStart(32, '0');
    const intermediates = [...generations.map(({ intermediate }) => intermediate), ...(await readDiscarded(dir))];
    const isOurs = intermediates.some(
      (intermediate) => intermediate.serial === serial && intermediate.issuer.equals(root.certificate.subject),
    );
    if (!isOurs) throw failed(`no intermediate of this root has the serial ${options.revoke}: see "gatehouse ca show"`);
    const reason = parseRevocationReason(options.reason ?? 'unspecified');
    if (reason === undefined) throw failed(`"${options.reason ?? ''}" is no reason of RFC 5280`);
    if (!revoked.has(serial)) revoked.set(serial, { revokedAt: now, reason });
  }
  const list = { number: (previous?.number ?? 0) + 1, thisUpdate: Math.max(now, (previous?.thisUpdate ?? 0) + 1000) };
  const nextUpdate = Math.min(list.thisUpdate + days * DAY, root.certificate.notAfter);
  await replaceFile(path, formatRootCrl(root, { ...list, nextUpdate, revoked }), 0o644);
  return { path, number: list.number, nextUpdate, revoked: [...revoked.keys()] };
}

/** The first one, while the ceremony has the key. @param now milliseconds UTC @returns DER */
export function formatFirstRootCrl(root: KeyedCa, now: number): Buffer {
  const nextUpdate = Math.min(now + MOST_DAYS * DAY, root.certificate.notAfter);
  return formatRootCrl(root, { number: 1, thisUpdate: now, nextUpdate, revoked: new Map() });
}

function formatRootCrl(
  { certificate, privateKey }: KeyedCa,
  list: {
    number: number;
    thisUpdate: number;
    nextUpdate: number;
    revoked: ReadonlyMap<string, { revokedAt: number; reason: RevocationReason }>;
  },
): Buffer {
  const { kind } = classifyPublicKey(certificate.publicKey);
  if (kind === undefined || certificate.subjectKeyId === undefined) throw failed('the root cannot sign a CRL');
  const algorithm = signatureAlgorithmFor(kind);
  const signatureAlgorithm = formatSignatureAlgorithm(algorithm);
  const entries = [...list.revoked].map(([serial, entry]) => formatRevokedEntry({ serial, ...entry }));
  const tbs = formatTbsCrl({
    ...list,
    issuer: certificate.subject,
    signatureAlgorithm,
    authorityKeyId: certificate.subjectKeyId,
    entries: Buffer.concat(entries),
  });
  return formatCrl(tbs, signatureAlgorithm, signMessage(algorithm, tbs, privateKey));
}

/** Of another root: numbers begin anew. @throws AuthorityError AUTHORITY_FAILED when it cannot be read: numbers must not go back */
async function readPrevious(path: string, { certificate }: KeyedCa): Promise<Crl | undefined> {
  let der: Buffer;
  try {
    der = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw failed(`the CRL ${path} cannot be read`, error);
  }
  try {
    const crl = parseCrl(der);
    return verifyCrlSignature(crl, certificate.publicKey) ? crl : undefined;
  } catch (cause) {
    throw failed(`${path} is not a CRL: move it away, and what it listed has to be revoked again`, cause);
  }
}

function failed(message: string, cause?: unknown): AuthorityError {
  return new AuthorityError('AUTHORITY_FAILED', message, { cause });
}
