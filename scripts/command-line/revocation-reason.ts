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

/** Of an issuer also what only authorities can suffer. */
export const ISSUER_REVOCATION_REASONS = [...REVOCATION_REASONS, 'cACompromise', 'aACompromise'] as const;

export const revocationReasonOption = reasonOption(REVOCATION_REASONS);

/** Takes `keyCompromise` and, because people type it so, `key-compromise`. */
export function reasonOption<Reason extends string>(reasons: readonly Reason[]): (text: string) => Reason {
  return usage((text: string): Reason => {
    const plain = text.replaceAll(/[-_ ]/g, '').toLowerCase();
    const found = reasons.find((reason) => reason.toLowerCase() === plain);
    if (found === undefined) throw new RangeError(`a reason is one of: ${reasons.join(', ')}`);
    return found;
  });
}
