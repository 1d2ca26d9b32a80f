import { usage } from './command-options.ts';

/** Reasons a person may give (RFC 5280 5.3.1). The other codes are for authorities or only for delta CRLs. */
export const REVOCATION_REASONS = [
  'unspecified',
  'keyCompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
] as const;
export type RevocationReason = (typeof REVOCATION_REASONS)[number];

/** Takes `keyCompromise` and, because people type it so, `key-compromise`. */
export const revocationReasonOption = usage((text: string): RevocationReason => {
  const plain = text.replaceAll(/[-_ ]/g, '').toLowerCase();
  const found = REVOCATION_REASONS.find((reason) => reason.toLowerCase() === plain);
  if (found === undefined) throw new RangeError(`a reason is one of: ${REVOCATION_REASONS.join(', ')}`);
  return found;
});
