import { hash } from 'node:crypto';
import type { DerElement } from './der.ts';
import { readDer, TAG } from './der.ts';
import { DerFields, onlyChild, readNumber, readOctetsOfBitString, readTime, readUnsigned } from './der-values.ts';
import type { AlternativeNames, Extensions, KeyUsage } from './extensions.ts';
import {
  parseAuthorityKeyId,
  parseBasicConstraints,
  parseExtendedKeyUsage,
  parseExtensions,
  parseKeyUsage,
  parseSubjectAltName,
  parseSubjectKeyId,
} from './extensions.ts';
import { parseName } from './name.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';
import { isSignatureValid } from './signature-algorithm.ts';

/** The signed part of a certificate (RFC 5280 4.1.2), read. */
export type TbsCertificate = {
  /** DER of the TBSCertificate itself. */
  tbs: Buffer;
  /** Lower-case hexadecimal of the INTEGER without its sign octet. */
  serial: string;
  /** AlgorithmIdentifier, DER. */
  signatureAlgorithm: Buffer;
  /** Name, DER. */
  issuer: Buffer;
  /** Name, DER. */
  subject: Buffer;
  /** Milliseconds UTC. */
  notBefore: number;
  /** Milliseconds UTC. */
  notAfter: number;
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Buffer;
  extensions: Extensions;
  /** Lower-case hexadecimal. */
  subjectKeyId?: string;
  /** Lower-case hexadecimal. */
  authorityKeyId?: string;
  /** The extension's value, DER. */
  subjectAltName?: Buffer;
  isCa: boolean;
  pathLength?: number;
  keyUsage?: Set<KeyUsage>;
  extendedKeyUsage?: string[];
} & AlternativeNames;

export type Certificate = TbsCertificate & {
  der: Buffer;
  signature: Buffer;
  /** SHA-256 of the DER, lower-case hexadecimal. */
  sha256: string;
};

const MAX_CERTIFICATE_BYTES = 64 * 1024;

/** @throws PkixError MALFORMED, or UNSUPPORTED for versions and fields nobody issues. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw new PkixError('MALFORMED', 'the certificate is too large');
  const element = readDer(der);
  const fields = new DerFields(element, 'a certificate');
  const tbs = readTbs(fields.take(TAG.sequence, 'its signed part'));
  const signatureAlgorithm = fields.take(TAG.sequence, 'its signature algorithm').raw;
  const signature = readOctetsOfBitString(fields.take(TAG.bitString, 'its signature'), 'a signature');
  fields.end();
  // RFC 5280 4.1.1.2: both fields say the same.
  if (!signatureAlgorithm.equals(tbs.signatureAlgorithm))
    throw new PkixError('MALFORMED', 'two signature algorithms in one certificate');
  return { ...tbs, der: element.raw, signature, sha256: hash('sha256', element.raw, 'hex') };
}

/** The same for what is not signed yet. @throws PkixError MALFORMED, UNSUPPORTED */
export function parseTbsCertificate(der: Uint8Array): TbsCertificate {
  return readTbs(readDer(der));
}

function readTbs(element: DerElement): TbsCertificate {
  const fields = new DerFields(element, 'a certificate');
  const versionElement = fields.optional(0xa0);
  const version = versionElement === undefined ? 0 : readNumber(onlyChild(versionElement, 'version'), 'version');
  // v1 (0) is met among old roots; v2 nowhere.
  if (version !== 2 && versionElement !== undefined)
    throw new PkixError('UNSUPPORTED', `certificate version ${version + 1}`);
  const serial = readUnsigned(fields.take(TAG.integer, 'a serial number'), 'a serial number');
  // RFC 5280 4.1.2.2
  if (serial.length > 20 || (serial.length === 1 && serial[0] === 0)) {
    throw new PkixError('MALFORMED', 'a serial number is positive and at most 20 octets');
  }
  const signatureAlgorithm = fields.take(TAG.sequence, 'its signature algorithm').raw;
  const issuer = fields.take(TAG.sequence, 'an issuer');
  parseName(issuer, 'the issuer');
  const [notBefore, notAfter, thirdTime] = fields.take(TAG.sequence, 'a validity').children();
  if (notBefore === undefined || notAfter === undefined || thirdTime !== undefined) {
    throw new PkixError('MALFORMED', 'a validity is two times');
  }
  const subject = fields.take(TAG.sequence, 'a subject');
  parseName(subject, 'the subject');
  const publicKey = fields.take(TAG.sequence, 'a public key').raw;
  const extensionsElement = fields.optional(0xa3);
  fields.end();
  if ((extensionsElement !== undefined) !== (version === 2))
    throw new PkixError('UNSUPPORTED', 'v3 and extensions go together');
  const extensions =
    extensionsElement === undefined ? new Map() : parseExtensions(onlyChild(extensionsElement, 'extensions'));
  return {
    tbs: element.raw,
    serial: serial.toString('hex'),
    signatureAlgorithm,
    issuer: issuer.raw,
    subject: subject.raw,
    notBefore: readTime(notBefore, 'notBefore'),
    notAfter: readTime(notAfter, 'notAfter'),
    publicKey,
    extensions,
    ...readKnownExtensions(extensions),
  };
}

function readKnownExtensions(extensions: Extensions) {
  const basicConstraints = extensions.get(OID.basicConstraints);
  const keyUsage = extensions.get(OID.keyUsage);
  const extendedKeyUsage = extensions.get(OID.extendedKeyUsage);
  const subjectAltName = extensions.get(OID.subjectAltName);
  const subjectKeyId = extensions.get(OID.subjectKeyIdentifier);
  const authorityKeyIdElement = extensions.get(OID.authorityKeyIdentifier);
  const authorityKeyId = authorityKeyIdElement && parseAuthorityKeyId(authorityKeyIdElement.value);
  return {
    ...(basicConstraints === undefined ? { isCa: false } : parseBasicConstraints(basicConstraints.value)),
    ...(keyUsage && { keyUsage: parseKeyUsage(keyUsage.value) }),
    ...(extendedKeyUsage && { extendedKeyUsage: parseExtendedKeyUsage(extendedKeyUsage.value) }),
    ...(subjectKeyId && { subjectKeyId: parseSubjectKeyId(subjectKeyId.value) }),
    ...(authorityKeyId !== undefined && { authorityKeyId }),
    ...(subjectAltName && { subjectAltName: subjectAltName.value }),
    ...(subjectAltName ? parseSubjectAltName(subjectAltName.value) : { uris: [], dnsNames: [], ipAddresses: [] }),
  };
}

/** Signature only: names, dates and rights are path.ts's. */
export function verifyCertificateSignature(certificate: Certificate, issuerPublicKeySpki: Uint8Array): boolean {
  const { signatureAlgorithm, tbs, signature } = certificate;
  return isSignatureValid(signatureAlgorithm, tbs, signature, issuerPublicKeySpki);
}
