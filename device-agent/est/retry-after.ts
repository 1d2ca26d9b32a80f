const ONE_SECOND_MS = 1000;
const ONE_DAY_MS = 24 * 3600_000;

/**
 * Retry-After (RFC 9110 10.2.3): seconds, or an HTTP date, which is read against the answer's own Date since the clock
 * here may be wrong. Never less than a second nor more than `longestMs`, so that a slip of the gateway neither has us
 * hammer nor stops us.
 * @returns milliseconds; undefined when absent or unreadable.
 */
export function parseRetryAfter(
  value: string | undefined,
  date: string | undefined,
  now: number,
  longestMs = ONE_DAY_MS,
): number | undefined {
  if (value === undefined) return undefined;
  const clamp = (ms: number) => Math.min(longestMs, Math.max(ONE_SECOND_MS, ms));
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return clamp(Number(text) * 1000);
  const until = parseHttpDate(text);
  if (Number.isNaN(until)) return undefined;
  const answered = parseHttpDate(date?.trim() ?? '');
  return clamp(until - (Number.isNaN(answered) ? now : answered));
}

/** The last of the three forms of RFC 9110 5.6.7 names no zone, and means UTC as the others do. */
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/** @returns milliseconds UTC; NaN when it is none. */
function parseHttpDate(text: string): number {
  // Date.parse takes much that is no HTTP date; every form of one starts with a day (RFC 9110 5.6.7).
  if (!/^[A-Z][a-z]{2}/.test(text)) return Number.NaN;
  return Date.parse(ASCTIME.test(text) ? `${text} GMT` : text);
}
