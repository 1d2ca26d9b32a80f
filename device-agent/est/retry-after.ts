const ONE_SECOND_MS = 1000;
const ONE_DAY_MS = 24 * 3600_000;

/**
 * Retry-After (RFC 9110 10.2.3): seconds, or an HTTP date, which is read against the answer's own Date since the clock
 * here may be wrong. Kept between one second and one day, so that a slip of the gateway neither hammers nor stops us.
 * @returns milliseconds; undefined when absent or unreadable.
 */
export function parseRetryAfter(value: string | undefined, date: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return clamp(Number(text) * 1000);
  // Date.parse takes much that is no HTTP date; every form of one starts with a day (RFC 9110 5.6.7).
  const until = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(until)) return undefined;
  const answered = Date.parse(date ?? '');
  return clamp(until - (Number.isNaN(answered) ? now : answered));
}

function clamp(ms: number): number {
  return Math.min(ONE_DAY_MS, Math.max(ONE_SECOND_MS, ms));
}
