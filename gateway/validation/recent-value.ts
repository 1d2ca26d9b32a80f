import type { Clock } from '#gateway/ports/clock.ts';

/**
 * Looks up at most once in `lifetime` milliseconds, and once at a time, however many ask: a crowd at an open door must
 * not become a crowd at the database. A failed look-up is told to those who waited for it and not kept.
 */
export function recentValue<T>(clock: Clock, lifetime: number, look: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined;
  let kept: { value: T; until: number } | undefined;

  async function lookNow(): Promise<T> {
    try {
      const value = await look();
      kept = { value, until: clock.monotonic() + lifetime };
      return value;
    } finally {
      underWay = undefined;
    }
  }
  return async () => {
    if (kept !== undefined && clock.monotonic() < kept.until) return kept.value;
    underWay ??= lookNow();
    return underWay;
  };
}
