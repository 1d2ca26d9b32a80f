const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * A moment for people: local time with its offset (RFC 3339), and how far away it is.
 *
 * @param at milliseconds UTC
 * @param now milliseconds UTC
 */
export function formatTime(at: number, now: number): string {
  return `${formatLocalTime(at)} (${formatDistance(at, now)})`;
}

/** @param at milliseconds UTC @returns such as 2026-03-01T09:12:44+01:00 */
export function formatLocalTime(at: number): string {
  const offset = -new Date(at).getTimezoneOffset();
  // The clock of this place, read as if it were UTC, is what toISOString then prints.
  const local = new Date(at + offset * MINUTE).toISOString().slice(0, 19);
  if (offset === 0) return `${local}Z`;
  return `${local}${offset < 0 ? '-' : '+'}${twoDigits(Math.abs(offset) / 60)}:${twoDigits(Math.abs(offset) % 60)}`;
}

function twoDigits(value: number): string {
  return String(Math.trunc(value)).padStart(2, '0');
}

/** "in 6 d", "4 min ago", "now". Rounded down, so that what is said to last has at least that long. */
export function formatDistance(at: number, now: number): string {
  const distance = Math.abs(at - now);
  if (distance < 1000) return 'now';
  const amount =
    distance < MINUTE
      ? `${Math.floor(distance / 1000)} s`
      : distance < HOUR
        ? `${Math.floor(distance / MINUTE)} min`
        : distance < 2 * DAY
          ? `${Math.floor(distance / HOUR)} h`
          : `${Math.floor(distance / DAY)} d`;
  return at > now ? `in ${amount}` : `${amount} ago`;
}
