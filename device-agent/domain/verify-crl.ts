import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { readDer, TAG } from '#ca/pkix/der.ts';
import { DerFields, onlyChild, readNumber, readOctetsOfBitString, readTime } from '#ca/pkix/der-values.ts';
import { type Extensions, parseAuthorityKeyId, parseExtensions } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { isSignatureValid } from '#ca/pkix/signature-algorithm.ts';
import { AgentError } from './agent-error.ts';

/** Times are milliseconds UTC. */
export type CrlFacts = {
  number: number;
  thisUpdate: number;
  nextUpdate: number;
  /** Lower-case hexadecimal. */
  authorityKeyId: string;
  /** notAfter of the certificate whose key signed it. */
  signedUntil: number;
  /** That certificate, DER. */
  issuer: Buffer;
};

/** DER. `issuers` need a path to an anchor; `at` undefined: no clock can be trusted, dates are not judged. */
export type CrlTrust = { issuers: readonly Buffer[]; anchors: readonly Buffer[]; at: number | undefined };

/** Further ahead than this it is not of our time. */
const CLOCK_TOLERANCE_MS = 10 * 60_000;

/**
 * A complete CRL (RFC 5280 5.1, 6.3.3) of one of our CAs: signature, key id, the right to sign it, dates. Its entries are
 * not read: a long list costs no more than its signature.
 * @throws AgentError ANSWER_UNFIT
 */
export function verifyCrl(der: Buffer, trust: CrlTrust): CrlFacts {
  try {
    const crl = parseCrlFrame(der);
    const { thisUpdate, nextUpdate } = crl;
    if (nextUpdate <= thisUpdate) throw new Error('it ends before it begins');
    if (trust.at !== undefined && thisUpdate > trust.at + CLOCK_TOLERANCE_MS) throw new Error('it is from the future');
    const issuer = findIssuer(crl, trust);
    if (!isSignatureValid(crl.signatureAlgorithm, crl.tbs, crl.signature, issuer.publicKey))
      throw new Error('its signature is wrong');
    const { number, authorityKeyId } = crl;
    return { number, thisUpdate, nextUpdate, authorityKeyId, signedUntil: issuer.notAfter, issuer: issuer.der };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError('ANSWER_UNFIT', `the CRL cannot be used: ${why}`, { cause });
  }
}

type CrlFrame = ReturnType<typeof parseCrlFrame>;

function findIssuer({ issuer, authorityKeyId }: CrlFrame, trust: CrlTrust): Certificate {
  const found = findCrlIssuer(authorityKeyId, trust, issuer);
  if (found === undefined) throw new Error('it is of an issuer that is not known here');
  return found;
}

/**
 * The CA with this key id that may sign CRLs and has a path to an anchor now.
 * @param subject its name, DER; any when left out
 * @returns undefined when there is none at hand @throws PkixError when it has no path
 */
export function findCrlIssuer(
  keyId: string,
  { issuers, anchors, at }: CrlTrust,
  subject?: Buffer,
): Certificate | undefined {
  const intermediates = issuers.map((one) => parseCertificate(one));
  const roots = anchors.map((one) => parseCertificate(one));
  const found = [...intermediates, ...roots].find(
    (one) =>
      one.subjectKeyId === keyId &&
      (subject === undefined || one.subject.equals(subject)) &&
      one.isCa &&
      one.keyUsage?.has('cRLSign') !== false,
  );
  if (found) validatePath(found, { intermediates, anchors: roots, ...(at === undefined ? {} : { at }) });
  return found;
}

function parseCrlFrame(der: Buffer) {
  const outer = new DerFields(readDer(der), 'a CRL');
  const tbs = outer.take(TAG.sequence, 'its signed part');
  const signatureAlgorithm = outer.take(TAG.sequence, 'its signature algorithm').raw;
  const signature = readOctetsOfBitString(outer.take(TAG.bitString, 'its signature'), 'a signature');
  outer.end();
  const fields = new DerFields(tbs, 'a CRL');
  if (readNumber(fields.take(TAG.integer, 'a version'), 'version') !== 1) throw new Error('it is not v2');
  const inner = fields.take(TAG.sequence, 'its signature algorithm').raw;
  if (!inner.equals(signatureAlgorithm)) throw new Error('it names two signature algorithms');
  const issuer = fields.take(TAG.sequence, 'an issuer').raw;
  const takeTime = (name: string) =>
    readTime(fields.optional(TAG.utcTime) ?? fields.take(TAG.generalizedTime, name), name);
  const thisUpdate = takeTime('thisUpdate');
  const nextUpdate = takeTime('nextUpdate');
  fields.optional(TAG.sequence);
  const extensions = parseExtensions(onlyChild(fields.take(0xa0, 'extensions'), 'extensions'));
  fields.end();
  return { tbs: tbs.raw, signatureAlgorithm, signature, issuer, thisUpdate, nextUpdate, ...readExtensions(extensions) };
}

function readExtensions(extensions: Extensions): { number: number; authorityKeyId: string } {
  for (const { critical } of extensions.values()) {
    // RFC 5280 5.2.4, 5.2.5: what makes a list incomplete is critical.
    if (critical) throw new Error('it is not a complete list');
  }
  const number = extensions.get(OID.crlNumber);
  const keyId = extensions.get(OID.authorityKeyIdentifier);
  const authorityKeyId = keyId && parseAuthorityKeyId(keyId.value);
  if (number === undefined || authorityKeyId === undefined) throw new Error('it has no number or no key id');
  return { number: readNumber(readDer(number.value), 'the CRL number'), authorityKeyId };
}
