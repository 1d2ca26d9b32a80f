import { type DerElement, readDer, TAG } from '#ca/pkix/der.ts';
import { readOid } from '#ca/pkix/der-values.ts';
import { OID } from '#ca/pkix/oids.ts';
import { parseRequestTemplate } from '#ca/pkix/request-template.ts';

/**
 * Whether a CsrAttrs (RFC 7030 4.5.2) asks for a CSR that is bound to its TLS session: by the bare OID challengePassword,
 * or in a template, which counts alone where there is one (RFC 9908 4). The rest is advice about keys and extensions,
 * which the gateway's own rules decide. @throws PkixError MALFORMED
 */
export function asksForBinding(der: Uint8Array): boolean {
  const items = readDer(der).children();
  const template = items.flatMap((item) => readTemplate(item) ?? [])[0];
  if (template === undefined) return items.some((item) => item.tag === TAG.oid && isOid(item, OID.challengePassword));
  return parseRequestTemplate(template).attributes.some(({ oid }) => oid === OID.challengePassword);
}

/** @returns the template in this item, DER; undefined when it is something else, which is passed over (RFC 8951 4). */
function readTemplate(item: DerElement): Buffer | undefined {
  const [type, values] = item.tag === TAG.sequence ? item.children() : [];
  const isTemplate = type?.tag === TAG.oid && isOid(type, OID.certificationRequestInfoTemplate);
  return isTemplate ? values?.children()[0]?.raw : undefined;
}

function isOid(element: DerElement, wanted: string): boolean {
  return readOid(element, 'an attribute') === wanted;
}
