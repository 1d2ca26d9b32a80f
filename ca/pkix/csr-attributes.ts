import type { Der } from './der.ts';
import { oid, sequence, setOf } from './der.ts';

/**
 * CsrAttrs (RFC 7030 4.5.2, RFC 9908 3.2): without `values` a bare OID, with them (none is legal) an Attribute.
 * No items give `3000`, which tells the client there are none.
 */
export function formatCsrAttributes(items: { oid: string; values?: Der[] }[]): Der {
  return sequence(
    ...items.map((item) =>
      item.values === undefined ? oid(item.oid) : sequence(oid(item.oid), setOf(...item.values)),
    ),
  );
}
