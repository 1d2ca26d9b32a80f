import type { Der } from './der.ts';
import { bitString, implicit, integer, oid, readDer, sequence, setOf, TAG } from './der.ts';
import { DerFields, readNumber, readOctetsOfBitString, readOid, readText } from './der-values.ts';
import type { Extensions } from './extensions.ts';
import {
  formatExtension,
  parseBasicConstraints,
  parseExtensions,
  parseKeyUsage,
  parseSubjectAltName,
} from './extensions.ts';
import { parseName } from './name.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';
import type { KeyKind } from './public-key.ts';
import { classifyPublicKey } from './public-key.ts';
import type { SignatureAlgorithmName } from './signature-algorithm.ts';
import { formatSignatureAlgorithm, isSignatureValid } from './signature-algorithm.ts';

/** PKCS#10 (RFC 2986), read. Everything in it is a wish of the sender; only the public key is ever certified. */
export type CertificateRequest = {
  der: Buffer;
  /** Name, DER. */
  subject: Buffer;
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Buffer;
  /** undefined: a key we do not certify. */
  keyKind: KeyKind | undefined;
  /** For people, e.g. "RSA 1024". */
  keyDescription: string;
  /** Values of the extensionRequest attribute by OID. */
  requestedExtensions: Extensions;
  /** The requested extension's value, DER. */
  subjectAltName?: Buffer;
  /** It asks for CA:TRUE, or to sign certificates or CRLs. */
  asksForCa: boolean;
  challengePassword?: string;
  /** Values (DER) by attribute OID. */
  attributes: Map<string, Buffer[]>;
  /** What is signed, DER. */
  info: Buffer;
  /** AlgorithmIdentifier, DER. */
  signatureAlgorithm: Buffer;
  signature: Buffer;
};

const MAX_CSR_BYTES = 64 * 1024;
const MAX_CHALLENGE_PASSWORD = 255;

/** The signature is not checked here: see verifyCsrSignature. @throws PkixError MALFORMED */
export function parseCsr(der: Uint8Array): CertificateRequest {
  if (der.length > MAX_CSR_BYTES) throw new PkixError('MALFORMED', 'the CSR is too large');
  const element = readDer(der);
  const outer = new DerFields(element, 'a CSR');
  const info = outer.take(TAG.sequence, 'its signed part');
  const signatureAlgorithm = outer.take(TAG.sequence, 'its signature algorithm').raw;
  const signature = readOctetsOfBitString(outer.take(TAG.bitString, 'its signature'), 'a signature');
  outer.end();

  const fields = new DerFields(info, 'a CSR');
  if (readNumber(fields.take(TAG.integer, 'a version'), 'version') !== 0)
    throw new PkixError('MALFORMED', 'the CSR version is not 0');
  const subject = fields.take(TAG.sequence, 'a subject');
  parseName(subject, 'the subject');
  const publicKey = fields.take(TAG.sequence, 'a public key').raw;
  // Empty attributes are written A0 00; some clients leave them out.
  const attributesElement = fields.optional(0xa0);
  fields.end();

  const attributes = new Map<string, Buffer[]>();
  for (const attribute of attributesElement?.children() ?? []) {
    const attributeFields = new DerFields(attribute, 'a CSR attribute');
    const type = readOid(attributeFields.take(TAG.oid, 'its type'), 'a CSR attribute type');
    const values = attributeFields.take(TAG.set, 'its values').children();
    attributeFields.end();
    if (attributes.has(type)) throw new PkixError('MALFORMED', `CSR attribute ${type} stands there twice`);
    attributes.set(
      type,
      values.map((value) => value.raw),
    );
  }
  const requestedExtensions = readRequestedExtensions(attributes);
  const subjectAltName = requestedExtensions.get(OID.subjectAltName)?.value;
  if (subjectAltName !== undefined) parseSubjectAltName(subjectAltName);
  const challengePassword = readChallengePassword(attributes);
  const { kind, description } = classifyPublicKey(publicKey);
  return {
    der: element.raw,
    subject: subject.raw,
    publicKey,
    keyKind: kind,
    keyDescription: description,
    requestedExtensions,
    ...(subjectAltName !== undefined && { subjectAltName }),
    asksForCa: asksForCa(requestedExtensions),
    ...(challengePassword !== undefined && { challengePassword }),
    attributes,
    info: info.raw,
    signatureAlgorithm,
    signature,
  };
}

function onlyValue(attributes: Map<string, Buffer[]>, type: string): Buffer | undefined {
  const values = attributes.get(type);
  if (values !== undefined && values.length !== 1)
    throw new PkixError('MALFORMED', `CSR attribute ${type} has not one value`);
  return values?.[0];
}

function readRequestedExtensions(attributes: Map<string, Buffer[]>): Extensions {
  const value = onlyValue(attributes, OID.extensionRequest);
  return value === undefined ? new Map() : parseExtensions(readDer(value));
}

function readChallengePassword(attributes: Map<string, Buffer[]>): string | undefined {
  const value = onlyValue(attributes, OID.challengePassword);
  if (value === undefined) return undefined;
  const text = readText(readDer(value), 'challengePassword');
  if (text === undefined || text.length > MAX_CHALLENGE_PASSWORD)
    throw new PkixError('MALFORMED', 'challengePassword is not a short text');
  return text;
}

function asksForCa(extensions: Extensions): boolean {
  const basicConstraints = extensions.get(OID.basicConstraints);
  if (basicConstraints !== undefined && parseBasicConstraints(basicConstraints.value).isCa) return true;
  const keyUsageExtension = extensions.get(OID.keyUsage);
  if (keyUsageExtension === undefined) return false;
  const keyUsage = parseKeyUsage(keyUsageExtension.value);
  return keyUsage.has('keyCertSign') || keyUsage.has('cRLSign');
}

/** Proof of possession. Listed algorithms only; false for everything else. */
export function verifyCsrSignature(csr: CertificateRequest): boolean {
  return isSignatureValid(csr.signatureAlgorithm, csr.info, csr.signature, csr.publicKey);
}

export type CsrTemplate = {
  /** Name, DER. */
  subject: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Uint8Array;
  /** Value of the subjectAltName extension to ask for, DER. */
  subjectAltName?: Uint8Array;
  /** Further attributes, each a whole Attribute (OID and SET), DER. */
  attributes?: Uint8Array[];
  /** Signs the CertificationRequestInfo; the signature as X.509 carries it (ECDSA: DER). */
  sign: (message: Buffer) => Buffer | Promise<Buffer>;
  signatureAlgorithm: SignatureAlgorithmName;
};

/** @returns PKCS#10, DER. */
export async function formatCsr(template: CsrTemplate): Promise<Der> {
  const attributes = [...(template.attributes ?? [])];
  if (template.subjectAltName !== undefined) {
    const extensions = sequence(formatExtension(OID.subjectAltName, false, template.subjectAltName));
    attributes.push(sequence(oid(OID.extensionRequest), setOf(extensions)));
  }
  const sorted = attributes.toSorted((a, b) => Buffer.compare(a, b));
  const info = sequence(
    integer(0),
    template.subject,
    template.publicKey,
    implicit(0, Buffer.concat(sorted), { constructed: true }),
  );
  const signature = await template.sign(info);
  return sequence(info, formatSignatureAlgorithm(template.signatureAlgorithm), bitString(signature));
}
