import type { CsrAttribute } from './csr-attributes.ts';
import type { Der, DerElement } from './der.ts';
import { bitString, implicit, integer, nullValue, oid, readDer, sequence, setOf, TAG } from './der.ts';
import { DerFields, readNumber, readOctetsOfBitString, readOid, readUnsigned } from './der-values.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';
import type { WantedKey } from './wanted-key.ts';

/** CertificationRequestInfoTemplate (RFC 9908 3.4): what is there is wanted so, what is absent is left to the client. */
export type RequestTemplate = {
  /** NameTemplate, DER: a Name whose attributes may lack their value. */
  subject?: Buffer;
  key?: WantedKey;
  attributes: CsrAttribute[];
};

/** RFC 9908 appendix A: IMPLICIT tags. Attributes are there even when there are none, as in PKCS#10. */
export function formatRequestTemplate({ subject, key, attributes }: RequestTemplate): Der {
  const listed = attributes.map((attribute) => sequence(oid(attribute.oid), setOf(...(attribute.values ?? []))));
  return sequence(
    integer(0),
    ...(subject === undefined ? [] : [subject]),
    ...(key === undefined ? [] : [implicit(0, formatKey(key), { constructed: true })]),
    implicit(1, Buffer.concat(listed.toSorted((a, b) => Buffer.compare(a, b))), { constructed: true }),
  );
}

/** @throws PkixError MALFORMED */
export function parseRequestTemplate(der: Uint8Array): RequestTemplate {
  const fields = new DerFields(readDer(der), 'a CSR template');
  if (readNumber(fields.take(TAG.integer, 'a version'), 'version') !== 0) {
    throw new PkixError('MALFORMED', 'the version of the CSR template is not 0');
  }
  const subject = fields.optional(TAG.sequence)?.raw;
  const keyElement = fields.optional(0xa0);
  const attributesElement = fields.take(0xa1, 'attributes');
  fields.end();
  const attributes = attributesElement.children().map(parseAttribute);
  const extensionLists = attributes.filter(
    (attribute) => attribute.oid === OID.extensionRequest || attribute.oid === OID.extensionReqTemplate,
  );
  if (extensionLists.length > 1) throw new PkixError('MALFORMED', 'the CSR template has two lists of extensions');
  return {
    ...(subject === undefined ? {} : { subject }),
    ...(keyElement === undefined ? {} : { key: parseKey(keyElement) }),
    attributes,
  };
}

function parseAttribute(element: DerElement): CsrAttribute {
  const fields = new DerFields(element, 'an attribute of a CSR template');
  const type = readOid(fields.take(TAG.oid, 'its type'), 'an attribute type');
  const values = fields.take(TAG.set, 'its values').children();
  fields.end();
  return { oid: type, values: values.map(({ raw }) => raw) };
}

/** SubjectPublicKeyInfoTemplate, without its outer tag. */
function formatKey({ algorithm, curve, rsaBits }: WantedKey): Buffer {
  if (curve !== undefined) return sequence(oid(algorithm), oid(curve));
  if (algorithm !== OID.rsaEncryption) return sequence(oid(algorithm));
  const identifier = sequence(oid(algorithm), nullValue());
  return rsaBits === undefined ? identifier : Buffer.concat([identifier, bitString(placeholderRsaKey(rsaBits))]);
}

/** RFC 9908 3.4: the size of an RSA key is told by a key of that size, which is nobody's. */
function placeholderRsaKey(bits: number): Der {
  const modulus = Buffer.alloc(bits / 8);
  modulus[0] = 0x80;
  modulus[modulus.length - 1] = 1;
  return sequence(integer(modulus), integer(65_537));
}

function parseKey(element: DerElement): WantedKey {
  const fields = new DerFields(element, 'the key of a CSR template', 0xa0);
  const [type, parameter] = fields.take(TAG.sequence, 'an algorithm').children();
  const placeholder = fields.optional(TAG.bitString);
  fields.end();
  if (type === undefined) throw new PkixError('MALFORMED', 'the key of a CSR template has no algorithm');
  const algorithm = readOid(type, 'a key algorithm');
  if (algorithm === OID.ecPublicKey && parameter !== undefined)
    return { algorithm, curve: readOid(parameter, 'a curve') };
  if (algorithm !== OID.rsaEncryption || placeholder === undefined) return { algorithm };
  const key = new DerFields(readDer(readOctetsOfBitString(placeholder, 'a placeholder key')), 'a placeholder key');
  const modulus = readUnsigned(key.take(TAG.integer, 'its modulus'), 'a modulus');
  return { algorithm, rsaBits: modulus.length * 8 - (Math.clz32(modulus[0] ?? 0) - 24) };
}
