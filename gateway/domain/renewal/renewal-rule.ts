/** A certificate's life as the gateway counts it. Milliseconds UTC. */
export type Life = { from: number; until: number };

/** When a certificate is to be renewed. Milliseconds UTC; it ends after it starts. */
export type RenewalWindow = { start: number; end: number };

const TEN_DAYS_MS = 10 * 24 * 3600_000;

/** Share of its life at which a certificate is renewed: the same rule that agents follow when they hear nothing. */
const SHARE = { short: 1 / 2, long: 2 / 3 } as const;

/** How far windows may lie from that moment when a crowd has to be spread, as shares of the life. */
const EARLIEST = 0.15;
const LATEST = 0.2;

/** notBefore is set back a few minutes; of a certificate that lives for minutes this would be most of its life. */
export function lifeOf(certificate: { notBefore: number; notAfter: number; issuedAt: number }): Life {
  const { notBefore, notAfter, issuedAt } = certificate;
  return { from: Math.min(Math.max(notBefore, issuedAt), notAfter), until: notAfter };
}

/** Around 2/3 of the life, 1/2 below ten days: fractions, since fixed days before the end renew a short life without end. */
export function idealMoment({ from, until }: Life): number {
  const length = until - from;
  return from + length * (length < TEN_DAYS_MS ? SHARE.short : SHARE.long);
}

/** Between these a window may begin: late enough to be worth it, early enough for many attempts before the end. */
export function roomOf(life: Life): RenewalWindow {
  const length = life.until - life.from;
  const ideal = idealMoment(life);
  return { start: ideal - EARLIEST * length, end: ideal + LATEST * length };
}
