/** CRLReason (RFC 5280 5.3.1) by name. 7 does not exist; 8 stands only in delta lists. */
const REASON_CODES = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const;

/** removeFromCRL: no longer on hold, in delta lists alone (RFC 5280 5.3.1). */
export const REMOVE_FROM_CRL = 8;

export type RevocationReason = keyof typeof REASON_CODES;

export const REVOCATION_REASONS: readonly RevocationReason[] = Object.keys(REASON_CODES) as RevocationReason[];

const names = new Map<number, RevocationReason>(REVOCATION_REASONS.map((name) => [REASON_CODES[name], name]));

/** The name as people and programs write it; upper and lower case and dashes do not matter. */
export function parseRevocationReason(text: string): RevocationReason | undefined {
  const plain = text.replaceAll(/[-_]/g, '').toLowerCase();
  return REVOCATION_REASONS.find((name) => name.toLowerCase() === plain);
}

export function reasonCodeOf(reason: RevocationReason): number {
  return REASON_CODES[reason];
}

/** @returns undefined for codes that may not stand in a complete CRL. */
export function reasonOfCode(code: number): RevocationReason | undefined {
  return names.get(code);
}
