/**
 * Full jitter: anywhere between nothing and the bound. The cap is applied before the draw, since a cap after it
 * brings everybody back at the same moment when a long outage ends.
 * @param failures earlier failures in a row, from 0. @param fraction 0 <= fraction < 1. @returns milliseconds.
 */
export function fullJitter(failures: number, bounds: { baseMs: number; capMs: number }, fraction: number): number {
  return Math.floor(fraction * Math.min(bounds.capMs, bounds.baseMs * 2 ** failures));
}

const RECONNECT_BOUNDS = { baseMs: 1000, capMs: 5 * 60_000 } as const;

/** How long to wait before connecting again. There is always a next time. */
export function reconnectDelay(failures: number, fraction: number): number {
  return fullJitter(failures, RECONNECT_BOUNDS, fraction);
}

/** Of what a gateway asks to wait, how much longer at most: a share of it, and never less than the second it counts in. */
const RETRY_AFTER_SPREAD = { share: 0.25, leastMs: 1000 } as const;

/**
 * Never sooner than Retry-After says, and not all at the moment it names: thousands who were refused in the same second
 * would be back in the same second.
 * @param fraction 0 <= fraction < 1. @returns milliseconds; 0 when nothing was asked for.
 */
export function spreadRetryAfter(retryAfterMs: number | undefined, fraction: number): number {
  if (retryAfterMs === undefined || retryAfterMs <= 0) return 0;
  const { share, leastMs } = RETRY_AFTER_SPREAD;
  return retryAfterMs + Math.floor(fraction * Math.max(leastMs, retryAfterMs * share));
}

/** A session that ended sooner counts as a failure: two agents with one id would otherwise throw each other out in a loop. */
export const SETTLED_SESSION_MS = 20_000;

const RENEWAL_RETRY_BASE_MS = 30_000;
const RENEWAL_RETRY_CAP_MS = 60 * 60_000;
/**
 * After a new certificate was not let in: the gateway may have set an end to the old one when it issued or saw the new
 * one (an hour by default), so the next is asked for well before that.
 */
const REFUSED_CANDIDATE_CAP_MS = 15 * 60_000;
/** A certificate that lives for seconds would otherwise be asked for without a pause. */
const RENEWAL_RETRY_LEAST_MS = 500;

/** How long to wait before the next renewal attempt: what the gateway asked and some more, or a draw that fits the lifetime. */
export function renewalRetryDelay(options: {
  failures: number;
  /** Of the certificate to replace: a short-lived one is retried sooner. */
  lifetimeMs: number;
  retryAfterMs: number | undefined;
  /** The certificate was issued and then not let in. */
  candidateRefused: boolean;
  fraction: number;
}): number {
  const longestMs = options.candidateRefused ? REFUSED_CANDIDATE_CAP_MS : RENEWAL_RETRY_CAP_MS;
  const capMs = Math.min(longestMs, 0.02 * Math.max(0, options.lifetimeMs));
  const drawn = fullJitter(options.failures, { baseMs: RENEWAL_RETRY_BASE_MS, capMs }, options.fraction);
  return Math.max(spreadRetryAfter(options.retryAfterMs, options.fraction), RENEWAL_RETRY_LEAST_MS, drawn);
}
