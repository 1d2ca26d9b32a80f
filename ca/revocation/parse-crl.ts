import { type DerElement, readDer, TAG } from '#ca/pkix/der.ts';
import { DerFields, onlyChild, readNumber, readOctetsOfBitString, readTime } from '#ca/pkix/der-values.ts';
import { type Extensions, parseAuthorityKeyId, parseExtensions } from '#ca/pkix/extensions.ts';
import { parseName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { isSignatureValid } from '#ca/pkix/signature-algorithm.ts';
import { type RevokedEntry, readRevokedEntries } from './revoked-entries.ts';

export type Crl = {
  /** Name, DER. */
  issuer: Buffer;
  number: number;
  /** Milliseconds UTC. */
  thisUpdate: number;
  nextUpdate: number;
  /** Lower-case hexadecimal. */
  authorityKeyId: string;
  /** By serial, lower-case hexadecimal. */
  revoked: Map<string, RevokedEntry>;
  tbs: Buffer;
  /** AlgorithmIdentifier, DER. */
  signatureAlgorithm: Buffer;
  signature: Buffer;
};

/**
 * A complete CRL (RFC 5280 5.1) with number, authority key id and nextUpdate; partial and delta ones are refused.
 * The signature is not checked: see verifyCrlSignature.
 * @throws PkixError MALFORMED, UNSUPPORTED
 */
export function parseCrl(der: Uint8Array): Crl {
  const outer = new DerFields(readDer(der), 'a CRL');
  const tbs = outer.take(TAG.sequence, 'its signed part');
  const signatureAlgorithm = outer.take(TAG.sequence, 'its signature algorithm').raw;
  const signature = readOctetsOfBitString(outer.take(TAG.bitString, 'its signature'), 'a signature');
  outer.end();

  const fields = new DerFields(tbs, 'a CRL');
  if (readNumber(fields.take(TAG.integer, 'a version'), 'version') !== 1)
    throw new PkixError('UNSUPPORTED', 'the CRL is not v2');
  const inner = fields.take(TAG.sequence, 'its signature algorithm').raw;
  if (!inner.equals(signatureAlgorithm)) throw new PkixError('MALFORMED', 'two signature algorithms in one CRL');
  const issuer = fields.take(TAG.sequence, 'an issuer');
  parseName(issuer, 'the issuer');
  const thisUpdate = readTime(takeTime(fields, 'thisUpdate'), 'thisUpdate');
  const nextUpdate = readTime(takeTime(fields, 'nextUpdate'), 'nextUpdate');
  const list = fields.optional(TAG.sequence);
  // RFC 5280 5.1.2.6: an empty list is left out.
  if (list?.content.length === 0) throw new PkixError('MALFORMED', 'the CRL has an empty list');
  const extensions = parseExtensions(onlyChild(fields.take(0xa0, 'extensions'), 'extensions'));
  fields.end();
  return {
    issuer: issuer.raw,
    thisUpdate,
    nextUpdate,
    ...readCrlExtensions(extensions),
    revoked: list === undefined ? new Map() : readRevokedEntries(list.content),
    tbs: tbs.raw,
    signatureAlgorithm,
    signature,
  };
}

function takeTime(fields: DerFields, name: string): DerElement {
  return fields.optional(TAG.utcTime) ?? fields.take(TAG.generalizedTime, name);
}

function readCrlExtensions(extensions: Extensions): { number: number; authorityKeyId: string } {
  const number = extensions.get(OID.crlNumber);
  const keyId = extensions.get(OID.authorityKeyIdentifier);
  const authorityKeyId = keyId && parseAuthorityKeyId(keyId.value);
  if (number === undefined || authorityKeyId === undefined)
    throw new PkixError('MALFORMED', 'the CRL has no number or no key id');
  for (const [type, { critical }] of extensions) {
    // RFC 5280 5.2.4, 5.2.5: both of them make the list incomplete, and both are critical.
    if (critical) throw new PkixError('UNSUPPORTED', `the CRL has the critical extension ${type}`);
  }
  return { number: readNumber(readDer(number.value), 'the CRL number'), authorityKeyId };
}

export function verifyCrlSignature(crl: Crl, issuerPublicKeySpki: Uint8Array): boolean {
  return isSignatureValid(crl.signatureAlgorithm, crl.tbs, crl.signature, issuerPublicKeySpki);
}
