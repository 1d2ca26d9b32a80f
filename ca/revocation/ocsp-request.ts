import { hash } from 'node:crypto';
import { type DerElement, readDer, TAG } from '#ca/pkix/der.ts';
import { DerFields, expectTag, onlyChild, readNumber, readOid, readUnsigned } from '#ca/pkix/der-values.ts';
import { parseExtensions } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { readKeyBits } from '#ca/pkix/public-key.ts';

/** Which certificate is asked about (RFC 6960 4.1.1). */
export type CertId = {
  /** As it came, DER: the answer repeats it. */
  der: Buffer;
  /** Hash algorithm and the two hashes of the issuer, as formatIssuerId writes them. */
  issuer: string;
  /** Lower-case hexadecimal. */
  serial: string;
};

export type OcspRequest = {
  certIds: CertId[];
  /** Only one that is to be repeated: 16 to 32 octets. */
  nonce?: Buffer;
};

const MAX_OCSP_CERT_IDS = 16;

const HASHES: ReadonlyMap<string, 'sha1' | 'sha256'> = new Map([
  [OID.sha1, 'sha1'],
  [OID.sha256, 'sha256'],
]);

/**
 * OCSPRequest (RFC 6960 4.1.1). A signature on it is passed over: everybody is answered.
 * @throws PkixError MALFORMED, UNSUPPORTED; the answer to either is malformedRequest
 */
export function parseOcspRequest(der: Uint8Array): OcspRequest {
  const outer = new DerFields(readDer(der), 'an OCSP request');
  const tbs = new DerFields(outer.take(TAG.sequence, 'its content'), 'an OCSP request');
  outer.optional(0xa0);
  outer.end();
  const version = tbs.optional(0xa0);
  if (version !== undefined && readNumber(onlyChild(version, 'version'), 'version') !== 0)
    throw new PkixError('UNSUPPORTED', 'the OCSP request is not v1');
  tbs.optional(0xa1);
  const list = tbs.take(TAG.sequence, 'a list of certificates').children();
  const extensions = tbs.optional(0xa2);
  tbs.end();
  if (list.length === 0 || list.length > MAX_OCSP_CERT_IDS)
    throw new PkixError('UNSUPPORTED', `an OCSP request asks about 1 to ${MAX_OCSP_CERT_IDS} certificates`);
  const certIds = list.map(parseRequest);
  const nonce = extensions === undefined ? undefined : readNonce(extensions);
  return { certIds, ...(nonce !== undefined && { nonce }) };
}

function parseRequest(element: DerElement): CertId {
  const fields = new DerFields(element, 'a request');
  const certId = parseCertId(fields.take(TAG.sequence, 'a certificate'));
  const extensions = fields.optional(0xa0);
  fields.end();
  if (extensions !== undefined) refuseCritical(onlyChild(extensions, 'extensions'));
  return certId;
}

function parseCertId(element: DerElement): CertId {
  const fields = new DerFields(element, 'a certificate id');
  const algorithm = new DerFields(fields.take(TAG.sequence, 'a hash algorithm'), 'a hash algorithm');
  const name = HASHES.get(readOid(algorithm.take(TAG.oid, 'its type'), 'a hash algorithm'));
  algorithm.optional(TAG.nullValue);
  algorithm.end();
  const nameHash = fields.take(TAG.octetString, "a hash of the issuer's name").content;
  const keyHash = fields.take(TAG.octetString, "a hash of the issuer's key").content;
  const serial = readUnsigned(fields.take(TAG.integer, 'a serial number'), 'a serial number');
  fields.end();
  const issuer = `${name ?? 'unknown'} ${nameHash.toString('hex')} ${keyHash.toString('hex')}`;
  return { der: element.raw, issuer, serial: serial.toString('hex') };
}

/** RFC 9654 2.1: none, or more than 128 octets, is malformed; 16 to 32 are repeated; others may be passed over. */
function readNonce(element: DerElement): Buffer | undefined {
  const list = onlyChild(element, 'extensions');
  refuseCritical(list);
  const value = parseExtensions(list).get(OID.ocspNonce)?.value;
  if (value === undefined) return undefined;
  const nonce = expectTag(readDer(value), TAG.octetString, 'a nonce').content;
  if (nonce.length === 0 || nonce.length > 128) throw new PkixError('MALFORMED', `a nonce of ${nonce.length} octets`);
  return nonce.length >= 16 && nonce.length <= 32 ? nonce : undefined;
}

/** RFC 6960 4.4: what is critical and not understood cannot be passed over. */
function refuseCritical(list: DerElement): void {
  for (const [type, { critical }] of parseExtensions(list)) {
    if (critical && type !== OID.ocspNonce)
      throw new PkixError('UNSUPPORTED', `the OCSP request has the critical extension ${type}`);
  }
}

/**
 * How requests may name an issuer: `<hash> <hash of its name> <hash of its key>`, with SHA-1 (RFC 6960) and SHA-256
 * (RFC 9919 3).
 * @param issuer.subject Name, DER @param issuer.publicKey SubjectPublicKeyInfo, DER
 */
export function formatIssuerIds(issuer: { subject: Uint8Array; publicKey: Uint8Array }): string[] {
  const key = readKeyBits(issuer.publicKey);
  return [...HASHES.values()].map((name) => `${name} ${hash(name, issuer.subject, 'hex')} ${hash(name, key, 'hex')}`);
}
