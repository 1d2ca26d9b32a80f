import { formatCsrAttributes } from '#ca/pkix/csr-attributes.ts';
import { oid } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';

/**
 * What a client without a preference should do: a P-256 key and an ECDSA signature with SHA-256 (RFC 9908 3.2: the key
 * as one attribute typed by its algorithm, the signature as a bare OID). Advice only; the group's policy decides.
 */
export const WANTED_CSR_ATTRIBUTES = formatCsrAttributes([
  { oid: OID.ecPublicKey, values: [oid(OID.prime256v1)] },
  { oid: OID.ecdsaWithSha256 },
]);
