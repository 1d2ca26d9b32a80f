import { nullValue } from './der.ts';
import { formatExtension } from './extensions.ts';
import { OID } from './oids.ts';

/** RFC 9608 2: of this certificate no status will ever be published. */
export const NO_REV_AVAIL = formatExtension(OID.noRevAvail, false, nullValue());

/** @param der of a certificate that we issued ourselves: its octets are searched, not read. */
export function hasNoRevAvail(der: Buffer): boolean {
  return der.includes(NO_REV_AVAIL);
}
