import { type DerElement, readDer, TAG } from '#ca/pkix/der.ts';
import { readOid } from '#ca/pkix/der-values.ts';
import { OID } from '#ca/pkix/oids.ts';

/**
 * Whether a CsrAttrs (RFC 7030 4.5.2) lists the bare OID challengePassword: a CSR has to be bound to its TLS session.
 * The rest is advice about keys and extensions, which the gateway's own rules decide. @throws PkixError MALFORMED
 */
export function asksForBinding(der: Uint8Array): boolean {
  return readDer(der)
    .children()
    .some((item) => item.tag === TAG.oid && isChallengePassword(item));
}

function isChallengePassword(item: DerElement): boolean {
  return readOid(item, 'an attribute') === OID.challengePassword;
}
