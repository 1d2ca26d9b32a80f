import { type Der, oid, readDer, sequence, TAG } from './der.ts';
import { DerFields, expectTag, readOid } from './der-values.ts';
import type { Extensions } from './extensions.ts';
import { OID } from './oids.ts';

/** What a certificate says about where its key lives; nothing said means a software key. */
export type CertifiedProofLevel = 'tpm' | 'tpm-endorsed';

/** Certificate policies (RFC 5280 4.2.1.4), not key purposes: so the TCG wants it. */
const POLICIES = {
  tpm: [OID.tpmResidencyVerified, OID.tpmFixedTpmVerified],
  'tpm-endorsed': [OID.tpmResidencyVerified, OID.tpmFixedTpmVerified, OID.gatehouseTpmEndorsed],
} as const satisfies Record<CertifiedProofLevel, readonly string[]>;

/** @returns the value of the certificatePolicies extension, without qualifiers. */
export function formatProofPolicies(level: CertifiedProofLevel): Der {
  return sequence(...POLICIES[level].map((policy) => sequence(oid(policy))));
}

/**
 * The proof level in a certificate's policies; good for nothing before the certificate's own issuer was checked.
 * @throws PkixError MALFORMED when the extension cannot be read
 */
export function readProofLevel(certificate: { extensions: Extensions }): 'software' | CertifiedProofLevel {
  const value = certificate.extensions.get(OID.certificatePolicies)?.value;
  if (value === undefined) return 'software';
  const policies = readPolicies(value);
  const names = (level: CertifiedProofLevel) => POLICIES[level].every((policy) => policies.includes(policy));
  return names('tpm-endorsed') ? 'tpm-endorsed' : names('tpm') ? 'tpm' : 'software';
}

/** Policy identifiers in their order; qualifiers are passed over. @throws PkixError MALFORMED */
export function readPolicies(value: Buffer): string[] {
  return expectTag(readDer(value), TAG.sequence, 'certificatePolicies')
    .children()
    .map((information) => {
      const fields = new DerFields(information, 'a certificate policy');
      const policy = readOid(fields.take(TAG.oid, 'its identifier'), 'a certificate policy');
      fields.optional(TAG.sequence);
      fields.end();
      return policy;
    });
}
