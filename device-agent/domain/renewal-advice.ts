const MINUTE_MS = 60_000;
const DAY_MS = 24 * 3600_000;
const SIX_HOURS_MS = 6 * 3600_000;

/** Both ends of how long a gateway's answer stands (RFC 9773 4.3.2): a slip of it neither makes us hammer nor deaf. */
export function clampStanding(retryAfterMs: number | undefined): number {
  return Math.min(DAY_MS, Math.max(MINUTE_MS, retryAfterMs ?? SIX_HOURS_MS));
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

/**
 * When to ask again after nobody answered: slower each time, six hours apart in the end (RFC 9773 4.3.3). Where HTTPS is
 * closed for good this is a few packets a day, not one dial a minute for as long as the device lives.
 * @param failures earlier failures in a row, from 0. @param fraction 0 <= fraction < 1. @returns milliseconds.
 */
export function pauseUnanswered(failures: number, fraction: number): number {
  const pauseMs = Math.min(SIX_HOURS_MS, MINUTE_MS * 2 ** failures);
  return Math.round(pauseMs * (1 + fraction / 4));
}
