import type { ReportTrail } from '#gateway/domain/clone/judge-report.ts';
import type { Device } from '#gateway/domain/device.ts';

/** Octets of a report that are kept; a longer one is cut down to what the gateway acts on. */
const MAX_REPORT = 4096;

/** What a device reported last, with the trail of who reported for it. */
export function formatLastReport(reported: object, understood: object, trail: ReportTrail): string {
  const whole = JSON.stringify({ ...reported, trail });
  return whole.length <= MAX_REPORT ? whole : JSON.stringify({ ...understood, trail });
}

/** @returns undefined when it has not reported, or what is known is not to count any more. */
export function readReportTrail({
  lastReport,
  reportCount,
}: Pick<Device, 'lastReport' | 'reportCount'>): { trail: ReportTrail; count: number | null } | undefined {
  const trail = readTrail(lastReport);
  return trail === undefined ? undefined : { trail, count: reportCount };
}

/** When the device said last that it means to renew this certificate, milliseconds UTC; undefined when it has not. */
export function readPlannedRenewal({ lastReport }: Pick<Device, 'lastReport'>, serial: string): number | undefined {
  const { serial: reported, nextRenewalAt } = readObject(lastReport) ?? {};
  return reported === serial && typeof nextRenewalAt === 'number' ? nextRenewalAt : undefined;
}

/** The report without its trail: the next one begins a new trail. */
export function withoutTrail(lastReport: string | null): string | null {
  const value = readObject(lastReport);
  if (value === undefined) return null;
  const { trail: _trail, ...rest } = value;
  return JSON.stringify(rest);
}

function readTrail(lastReport: string | null): ReportTrail | undefined {
  const trail = readObject(lastReport)?.['trail'];
  // Written by formatLastReport alone.
  return typeof trail === 'object' && trail !== null ? (trail as ReportTrail) : undefined;
}

function readObject(text: string | null): Record<string, unknown> | undefined {
  try {
    const value: unknown = text === null ? undefined : JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
