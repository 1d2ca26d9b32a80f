import type { Der, DerElement } from './der.ts';
import { oid, printableString, readDer, sequence, setOf, TAG, utf8String } from './der.ts';
import { expectTag, readOid, readText } from './der-values.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';

/** RFC 5280 appendix A: upper bounds of X.520 attributes, in characters. */
const MAX_ATTRIBUTE_LENGTH = 64;

export type NameAttributes = { commonName?: string; serialNumber?: string; organization?: string };

/**
 * A Name of one attribute per RDN: organization, common name, serial number, whichever are given.
 * @throws RangeError when one is empty or longer than 64 characters, or a serial number is not a PrintableString.
 */
export function formatName(attributes: NameAttributes): Der {
  const { organization, commonName, serialNumber } = attributes;
  const rdns: Der[] = [];
  if (organization !== undefined) rdns.push(rdn(OID.organizationName, utf8String(bounded(organization))));
  if (commonName !== undefined) rdns.push(rdn(OID.commonName, utf8String(bounded(commonName))));
  if (serialNumber !== undefined) rdns.push(rdn(OID.serialNumber, printableString(bounded(serialNumber))));
  return sequence(...rdns);
}

function rdn(type: string, value: Der): Der {
  return setOf(sequence(oid(type), value));
}

function bounded(text: string): string {
  if (text === '' || text.length > MAX_ATTRIBUTE_LENGTH)
    throw new RangeError('a subject attribute has 1 to 64 characters');
  return text;
}

const SHORT_NAMES: Record<string, string> = {
  [OID.commonName]: 'CN',
  [OID.surname]: 'SN',
  [OID.serialNumber]: 'serialNumber',
  [OID.countryName]: 'C',
  [OID.localityName]: 'L',
  [OID.stateOrProvinceName]: 'ST',
  [OID.streetAddress]: 'STREET',
  [OID.organizationName]: 'O',
  [OID.organizationalUnitName]: 'OU',
  [OID.domainComponent]: 'DC',
};

export type NameAttribute = { type: string; value: DerElement };

/** RDNs in their order, the attributes of each with their OID. @throws PkixError MALFORMED */
export function parseName(name: DerElement, what: string): NameAttribute[][] {
  return expectTag(name, TAG.sequence, what)
    .children()
    .map((rdn) => {
      const attributes = expectTag(rdn, TAG.set, `an RDN of ${what}`).children();
      if (attributes.length === 0) throw new PkixError('MALFORMED', `${what} has an empty RDN`);
      return attributes.map((attribute) => parseAttribute(attribute, what));
    });
}

function parseAttribute(attribute: DerElement, what: string): NameAttribute {
  const [type, value, tooMany] = expectTag(attribute, TAG.sequence, `an attribute of ${what}`).children();
  if (type === undefined || value === undefined || tooMany !== undefined) {
    throw new PkixError('MALFORMED', `an attribute of ${what} is not a type and a value`);
  }
  return { type: readOid(type, `an attribute type of ${what}`), value };
}

/** For people (RFC 4514): most specific first. Never compare these; compare the DER. @throws PkixError MALFORMED */
export function formatNameText(name: Uint8Array): string {
  return parseName(readDer(name), 'a name')
    .map((attributes) => attributes.map(attributeText).join('+'))
    .toReversed()
    .join(',');
}

function attributeText({ type, value }: NameAttribute): string {
  const text = readText(value, 'a subject attribute');
  const short = SHORT_NAMES[type];
  if (short === undefined || text === undefined) return `${short ?? type}=#${value.raw.toString('hex')}`;
  return `${short}=${escapeText(text)}`;
}

function escapeText(text: string): string {
  return text
    .replace(/["+,;<>\\]/g, '\\$&')
    .replace(/^[ #]| $/g, '\\$&')
    .replace(/\p{Cc}/gu, (c) => `\\${Buffer.from(c, 'utf8').toString('hex')}`);
}
