const MINUTE_MS = 60_000;
const DAY_MS = 24 * 3600_000;

/** Both ends of how long a gateway's answer stands (RFC 9773 4.3.2): a slip of it neither makes us hammer nor deaf. */
export function clampStanding(retryAfterMs: number | undefined): number {
  return Math.min(DAY_MS, Math.max(MINUTE_MS, retryAfterMs ?? 6 * 3600_000));
}

/**
 * When to ask for a window for the first time since the certificate came, or the agent started: within a day, as the
 * gateway has told one; soon, when it has not. Spread, so that a fleet that was switched on does not ask at once.
 * @param fraction 0 <= fraction < 1. @returns milliseconds.
 */
export function nextQuestion(facts: { isAdvised: boolean; lifetimeMs: number; fraction: number }): number {
  const longest = facts.isAdvised ? DAY_MS : Math.min(MINUTE_MS, facts.lifetimeMs / 20);
  const shortest = facts.isAdvised ? DAY_MS / 2 : 0;
  return Math.round(shortest + facts.fraction * (longest - shortest));
}
