import type { Der, DerElement } from './der.ts';
import { boolean, octetString, oid, readDer, sequence, TAG } from './der.ts';
import { DerFields, expectTag, readBoolean, readNamedBits, readNumber, readOid } from './der-values.ts';
import { formatIpAddress } from './ip-address.ts';
import { PkixError } from './pkix-error.ts';

/** `value` is what stands inside the OCTET STRING. */
type Extension = { critical: boolean; value: Buffer };
export type Extensions = Map<string, Extension>;

/** One Extension (RFC 5280 4.1): `critical` is left out when false, as DER leaves out defaults. */
export function formatExtension(type: string, critical: boolean, value: Uint8Array): Der {
  return critical ? sequence(oid(type), boolean(true), octetString(value)) : sequence(oid(type), octetString(value));
}

/**
 * Extensions by OID, in their order.
 * RFC 5280 4.2: never the same one twice; 4.1: never an empty list.
 * @throws PkixError MALFORMED
 */
export function parseExtensions(list: DerElement): Extensions {
  const extensions: Extensions = new Map();
  for (const element of expectTag(list, TAG.sequence, 'the extensions').children()) {
    const fields = new DerFields(element, 'an extension');
    const type = readOid(fields.take(TAG.oid, 'its type'), 'an extension type');
    const criticalElement = fields.optional(TAG.boolean);
    const value = fields.take(TAG.octetString, 'its value').content;
    fields.end();
    const critical = criticalElement !== undefined && readBoolean(criticalElement, 'critical');
    if (criticalElement !== undefined && !critical) throw new PkixError('MALFORMED', 'a default value is written out');
    if (extensions.has(type)) throw new PkixError('MALFORMED', `extension ${type} stands there twice`);
    extensions.set(type, { critical, value });
  }
  if (extensions.size === 0) throw new PkixError('MALFORMED', 'the list of extensions is empty');
  return extensions;
}

/** RFC 5280 4.2.1.9. */
export function parseBasicConstraints(value: Buffer): { isCa: boolean; pathLength?: number } {
  const fields = new DerFields(readDer(value), 'basicConstraints');
  const caElement = fields.optional(TAG.boolean);
  const lengthElement = fields.optional(TAG.integer);
  fields.end();
  const isCa = caElement !== undefined && readBoolean(caElement, 'cA');
  if (lengthElement === undefined) return { isCa };
  if (!isCa) throw new PkixError('MALFORMED', 'a path length without CA:TRUE');
  return { isCa, pathLength: readNumber(lengthElement, 'a path length') };
}

/** RFC 5280 4.2.1.3, in the order of its bits. */
const KEY_USAGES = [
  'digitalSignature',
  'contentCommitment',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

export function parseKeyUsage(value: Buffer): Set<KeyUsage> {
  const usages = readNamedBits(readDer(value), 'keyUsage').map((bit) => KEY_USAGES[bit]);
  const known = usages.filter((usage) => usage !== undefined);
  if (known.length === 0 || known.length !== usages.length)
    throw new PkixError('MALFORMED', 'keyUsage names nothing, or unknown uses');
  return new Set(known);
}

/** RFC 5280 4.2.1.12. */
export function parseExtendedKeyUsage(value: Buffer): string[] {
  const purposes = expectTag(readDer(value), TAG.sequence, 'extendedKeyUsage').children();
  if (purposes.length === 0) throw new PkixError('MALFORMED', 'extendedKeyUsage is empty');
  return purposes.map((purpose) => readOid(purpose, 'a key purpose'));
}

/** Lower-case hexadecimal. */
export function parseSubjectKeyId(value: Buffer): string {
  return expectTag(readDer(value), TAG.octetString, 'subjectKeyIdentifier').content.toString('hex');
}

/** The keyIdentifier in lower-case hexadecimal; undefined when only issuer and serial are given. */
export function parseAuthorityKeyId(value: Buffer): string | undefined {
  const fields = new DerFields(readDer(value), 'authorityKeyIdentifier');
  const keyId = fields.optional(0x80);
  fields.optional(0xa1);
  fields.optional(0x82);
  fields.end();
  return keyId?.content.toString('hex');
}

export type AlternativeNames = { uris: string[]; dnsNames: string[]; ipAddresses: string[] };

/** RFC 5280 4.2.1.6. Names of other kinds are passed over; what is no GeneralName is refused. */
export function parseSubjectAltName(value: Buffer): AlternativeNames {
  const names: AlternativeNames = { uris: [], dnsNames: [], ipAddresses: [] };
  const elements = expectTag(readDer(value), TAG.sequence, 'subjectAltName').children();
  if (elements.length === 0) throw new PkixError('MALFORMED', 'subjectAltName is empty');
  for (const { tag, content } of elements) {
    if (tag === 0x86) names.uris.push(ascii(content));
    else if (tag === 0x82) names.dnsNames.push(ascii(content));
    else if (tag === 0x87) {
      const address = formatIpAddress(content);
      if (address === undefined) throw new PkixError('MALFORMED', 'an iPAddress is 4 or 16 octets');
      names.ipAddresses.push(address);
    } else if (![0xa0, 0x81, 0xa3, 0xa4, 0xa5, 0x88].includes(tag)) {
      throw new PkixError('MALFORMED', `subjectAltName holds DER tag 0x${tag.toString(16)}`);
    }
  }
  return names;
}

/** Printable only: a NUL or a line end inside a name fools whoever compares or shows it. */
function ascii(content: Buffer): string {
  for (const octet of content) {
    if (octet < 0x21 || octet > 0x7e)
      throw new PkixError('MALFORMED', 'a name in subjectAltName is not printable ASCII');
  }
  return content.toString('latin1');
}
