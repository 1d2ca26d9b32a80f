/** Moments are drawn within a window and rounded, and an agent's spread may put one on its edge. */
const TOLERANCE_MS = 60_000;

/**
 * Whether a device that means to renew at this moment knows its window, or need not hear of it any more: past its end it
 * renews as soon as it can.
 * @param plannedAt as it reported, milliseconds UTC; null or undefined: it has not said.
 */
export function isWindowKnown(
  window: { start: number; end: number },
  plannedAt: number | null | undefined,
  now: number,
): boolean {
  if (window.end <= now) return true;
  if (plannedAt === null || plannedAt === undefined) return false;
  return plannedAt >= window.start - TOLERANCE_MS && plannedAt <= window.end + TOLERANCE_MS;
}
