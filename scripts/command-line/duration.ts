const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

const DURATION = /^(\d{1,9})([smhd])$/;

/**
 * @param text such as 90s, 15m, 24h, 7d
 * @returns whole seconds
 * @throws RangeError when it is not a duration, or none at all (0).
 */
export function parseDuration(text: string): number {
  const [, amount, unit] = DURATION.exec(text.trim()) ?? [];
  const seconds = Number(amount) * (SECONDS[unit as keyof typeof SECONDS] ?? Number.NaN);
  if (!Number.isSafeInteger(seconds) || seconds === 0) {
    throw new RangeError(`"${text.slice(0, 40)}" is not a duration: write 90s, 15m, 24h or 7d`);
  }
  return seconds;
}

/** Seconds as the shortest exact duration: 604800 is 7d, 5400 is 90m. */
export function formatDuration(seconds: number): string {
  for (const unit of ['d', 'h', 'm'] as const) {
    if (seconds >= SECONDS[unit] && seconds % SECONDS[unit] === 0) return `${seconds / SECONDS[unit]}${unit}`;
  }
  return `${seconds}s`;
}
