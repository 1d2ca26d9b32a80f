/** When a device was connected. Milliseconds UTC; `until` is null while it is. */
export type Presence = { since: number; until: number | null };

export type OfflineForecast = { lastSeen: number; usualGapMs: number | null; expectedBack: number };

/**
 * When a device that is offline will be back, if it goes on as it did: after its usual gap (the median of those it had)
 * since it was last seen. One that is overdue, or has no pattern yet, is expected to stay away as long again as it has
 * been away already.
 * @param presences oldest first. @returns undefined when it was never seen, or is connected.
 */
export function forecastReturn(presences: readonly Presence[], now: number): OfflineForecast | undefined {
  const lastSeen = presences.at(-1)?.until;
  if (lastSeen == null) return undefined;
  const gaps: number[] = [];
  for (const [place, { since }] of presences.entries()) {
    const before = presences[place - 1]?.until;
    if (before != null && since > before) gaps.push(since - before);
  }
  const usualGapMs = gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? null;
  const isOverdue = usualGapMs === null || lastSeen + usualGapMs <= now;
  return { lastSeen, usualGapMs, expectedBack: isOverdue ? now + (now - lastSeen) : lastSeen + usualGapMs };
}
