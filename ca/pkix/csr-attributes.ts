import type { Der, DerElement } from './der.ts';
import { oid, readDer, sequence, setOf, TAG } from './der.ts';
import { DerFields, expectTag, readOid } from './der-values.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';
import { parseRequestTemplate, type RequestTemplate } from './request-template.ts';
import { readWantedKey, type WantedKey } from './wanted-key.ts';

/** Without `values` a bare OID, with them (none is legal) an Attribute; each value one DER element. */
export type CsrAttribute = { oid: string; values?: Der[] };

/** CsrAttrs (RFC 7030 4.5.2, RFC 9908 3.2). No items give `3000`, which tells the client there are none. */
export function formatCsrAttributes(items: readonly CsrAttribute[]): Der {
  return sequence(
    ...items.map((item) =>
      item.values === undefined ? oid(item.oid) : sequence(oid(item.oid), setOf(...item.values)),
    ),
  );
}

const MAX_ITEMS = 64;

/**
 * Items in their order, unknown ones among them, which a client ignores (RFC 8951 4).
 * @throws PkixError MALFORMED
 */
export function parseCsrAttributes(der: Uint8Array): CsrAttribute[] {
  const items = expectTag(readDer(der), TAG.sequence, 'the CSR attributes').children();
  if (items.length > MAX_ITEMS) throw new PkixError('MALFORMED', `${items.length} CSR attributes`);
  return items.map(parseItem);
}

function parseItem(item: DerElement): CsrAttribute {
  if (item.tag === TAG.oid) return { oid: readOid(item, 'a CSR attribute') };
  const fields = new DerFields(item, 'a CSR attribute');
  const type = readOid(fields.take(TAG.oid, 'its type'), 'a CSR attribute type');
  const values = fields.take(TAG.set, 'its values').children();
  fields.end();
  return { oid: type, values: values.map(({ raw }) => raw) };
}

/** What of the attributes matters to one that makes a key and a CSR. */
export type CsrWishes = {
  key?: WantedKey;
  /** The CSR has to be bound to its TLS session by challengePassword (RFC 7030 3.5). */
  wantsBinding: boolean;
  template?: RequestTemplate;
};

/**
 * RFC 9908 4: one that knows templates heeds the template alone, when there is one.
 * @throws PkixError MALFORMED for two keys, two templates, or one that is broken
 */
export function readCsrWishes(der: Uint8Array): CsrWishes {
  const items = parseCsrAttributes(der);
  const templates = items.filter((item) => item.oid === OID.certificationRequestInfoTemplate);
  const [template] = templates;
  if (template !== undefined) {
    const [value, second] = template.values ?? [];
    if (templates.length > 1 || value === undefined || second !== undefined) {
      throw new PkixError('MALFORMED', 'the CSR attributes hold a template that is not one');
    }
    const read = parseRequestTemplate(value);
    const wantsBinding = read.attributes.some((attribute) => attribute.oid === OID.challengePassword);
    return { wantsBinding, template: read, ...(read.key === undefined ? {} : { key: read.key }) };
  }
  const keys = items.flatMap((item) => readWantedKey(item) ?? []);
  if (keys.length > 1) throw new PkixError('MALFORMED', 'the CSR attributes ask for two keys');
  const [key] = keys;
  const wantsBinding = items.some((item) => item.oid === OID.challengePassword);
  return { wantsBinding, ...(key === undefined ? {} : { key }) };
}
