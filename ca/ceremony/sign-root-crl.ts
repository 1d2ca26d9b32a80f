import type { Certificate } from '#ca/pkix/certificate.ts';
import { classifyPublicKey } from '#ca/pkix/public-key.ts';
import { formatSignatureAlgorithm, signatureAlgorithmFor, signMessage } from '#ca/pkix/signature-algorithm.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { formatCrl, formatRevokedEntry, formatTbsCrl } from '#ca/revocation/crl.ts';
import { parseRevocationReason, type RevocationReason } from '#ca/revocation/reasons.ts';
import { readDiscarded } from './discard-generation.ts';
import { type CaGenerationFolder, findIssuing, readGenerations } from './generation-folders.ts';
import type { KeyedCa } from './make-ca.ts';
import { openRootKey, type RootKeyFiles } from './open-root-key.ts';
import { findRootCrl } from './root-crl-files.ts';
import { replaceFile } from './staging-folder.ts';

export type RootCrlOptions = RootKeyFiles & {
  /** Serial of an intermediate of this root, hexadecimal, to be revoked as well; left out: the list is only renewed. */
  revoke?: string;
  /** Subject key id of the root, or its beginning; left out: that of the intermediate to be revoked, or the one in use. */
  rootKeyId?: string;
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
 * Renews a root's list of revoked intermediates in the authority's folder: what it listed stays listed, its number
 * rises. Relying parties that check a whole chain need it (RFC 5280 6.3), though nothing is on it. A root that was replaced
 * goes on with its own list, as long as its key is at hand.
 * @throws AuthorityError AUTHORITY_FAILED when the root key is not at hand, or there is no such root or intermediate
 */
export async function signRootCrl(dir: string, options: RootCrlOptions = {}): Promise<RootCrlResult> {
  const now = options.now ?? Date.now();
  const { days = MOST_DAYS } = options;
  if (!(days > 0 && days <= MOST_DAYS)) throw failed(`a CRL of the root is good for up to ${MOST_DAYS} days`);
  const generations = await readGenerations(dir);
  const unwanted = options.revoke === undefined ? undefined : await findIntermediate(dir, generations, options.revoke);
  const generation = await findGeneration(dir, generations, { keyId: options.rootKeyId, unwanted });
  const root = await openRootKey(dir, generation, options);
  const { path, previous } = await findRootCrl(dir, generations, root.certificate);
  const revoked = new Map(previous?.revoked);
  if (unwanted !== undefined) {
    const reason = parseRevocationReason(options.reason ?? 'unspecified');
    if (reason === undefined) throw failed(`"${options.reason ?? ''}" is no reason of RFC 5280`);
    if (!revoked.has(unwanted.serial)) revoked.set(unwanted.serial, { revokedAt: now, reason });
  }
  const list = { number: (previous?.number ?? 0) + 1, thisUpdate: Math.max(now, (previous?.thisUpdate ?? 0) + 1000) };
  const nextUpdate = Math.min(list.thisUpdate + days * DAY, root.certificate.notAfter);
  await replaceFile(path, formatRootCrl(root, { ...list, nextUpdate, revoked }), 0o644);
  return { path, number: list.number, nextUpdate, revoked: [...revoked.keys()] };
}

async function findIntermediate(
  dir: string,
  generations: readonly CaGenerationFolder[],
  text: string,
): Promise<Certificate> {
  const serial = text.toLowerCase().replaceAll(':', '').padStart(32, '0');
  const intermediates = [...generations.map(({ intermediate }) => intermediate), ...(await readDiscarded(dir))];
  const found = intermediates.find((intermediate) => intermediate.serial === serial);
  if (found !== undefined) return found;
  throw failed(`no intermediate of this root has the serial ${text}: see "gatehouse ca show"`);
}

/** One of the root that is meant. @throws AuthorityError AUTHORITY_FAILED */
async function findGeneration(
  dir: string,
  generations: CaGenerationFolder[],
  { keyId, unwanted }: { keyId: string | undefined; unwanted: Certificate | undefined },
): Promise<CaGenerationFolder> {
  const issuing = await findIssuing(dir, generations);
  const isMeant = ({ root }: CaGenerationFolder) =>
    (keyId === undefined || root.subjectKeyId?.startsWith(keyId.toLowerCase().replaceAll(':', '')) === true) &&
    (unwanted === undefined || root.subject.equals(unwanted.issuer));
  const found = [issuing, ...generations].find(isMeant);
  // The one it was made with: there its key was left.
  const first = generations.find(({ root }) => root.sha256 === found?.root.sha256);
  if (first !== undefined) return first;
  const what = unwanted === undefined ? '' : ` that has certified ${unwanted.serial}`;
  throw failed(`there is no root ${keyId ?? ''}${what} here: see "gatehouse ca rollover status"`);
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

function failed(message: string, cause?: unknown): AuthorityError {
  return new AuthorityError('AUTHORITY_FAILED', message, { cause });
}
