import type { PhaseResult } from '#simulators/fleet/phase-recorder.ts';

const HEADS = ['phase', 'devices', 'failed', 'sec', 'per s', 'p50', 'p90', 'p99', 'max', 'cpu here', 'gateway'];

/** One row per phase, numbers right-aligned, times in milliseconds; it fits 80 columns. */
export function formatPhases(phases: readonly PhaseResult[]): string {
  const rows = phases.map(({ name, count, failed, seconds, perSecond, latencyMs, processorMs }) => [
    name,
    String(count),
    String(failed),
    seconds.toFixed(2),
    latencyMs === null ? '-' : formatNumber(perSecond),
    ...(latencyMs === null
      ? ['-', '-', '-', '-']
      : [latencyMs.p50, latencyMs.p90, latencyMs.p99, latencyMs.max].map(formatNumber)),
    processorMs === null ? '-' : formatNumber(processorMs.simulator),
    processorMs === null || processorMs.gateway === null ? '-' : formatNumber(processorMs.gateway),
  ]);
  const widths = HEADS.map((head, column) => Math.max(head.length, ...rows.map((row) => (row[column] ?? '').length)));
  return [HEADS, ...rows]
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join(' ')
        .trimEnd(),
    )
    .join('\n');
}

/** Three digits that matter, so that columns stay narrow: 0.42, 8.51, 62.4, 1240. */
function formatNumber(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** Failures by code with what the first one said and the first attempt ids; empty when nothing failed. */
export function formatFailures(phases: readonly PhaseResult[]): string {
  return phases
    .flatMap(({ name, failures }) =>
      failures.map(
        ({ code, count, example, first }) =>
          `${name}: ${count} x ${code}: ${example}\n  first: ${first.join(' ')}${count > first.length ? ' ...' : ''}`,
      ),
    )
    .join('\n');
}

/** How even the load of a planned renewal was; empty when there was none. */
export function formatEvenness(phases: readonly PhaseResult[]): string {
  const renewed = phases.find(({ name, count }) => name === 'renew' && count > 0);
  if (renewed === undefined) return '';
  const { perSecond, peakPerSecond } = renewed;
  const ratio = (peakPerSecond / perSecond).toFixed(2);
  return `renew: ${peakPerSecond} in the fullest second, ${perSecond.toFixed(1)} in the mean: peak over mean ${ratio}`;
}

/** Attempts that agents made again by themselves; empty when there were none. */
export function formatRepeats(phases: readonly PhaseResult[]): string {
  return phases
    .filter(({ repeated }) => repeated > 0)
    .map(({ name, repeated, repeatedBecause }) => {
      const reasons = repeatedBecause.map(({ reason, count }) => `${count} x ${reason}`);
      return `${name}: ${repeated} attempts failed and were made again by the devices (${reasons.join(', ')})`;
    })
    .join('\n');
}
