import type { RenewalPlan } from '#gateway/contract/renewal-api.ts';
import { formatLocalTime, formatTime } from './format-time.ts';
import { print, printFields, printTable, say, terminalWidth } from './output.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Where stdout is no terminal. */
const USUAL_WIDTH = 80;
/** Eighths of a character. */
const PARTS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

export function printPlan(plan: RenewalPlan, now: number): void {
  const { active, due, group, issuesPerSecond, plannedPerSecond, secondsToReplaceAll, atRisk } = plan;
  printFields({
    group: group ?? 'all',
    'certificates in use': String(active),
    'window begun, not renewed': String(due),
    'issues a second': `${issuesPerSecond} ${plan.isRateMeasured ? 'measured' : 'assumed (too few issued to measure)'}, ${plannedPerSecond} planned with`,
    'to replace all': active === 0 ? '-' : formatSpan(secondsToReplaceAll * 1000),
  });
  print('');
  for (const line of formatHistogram(plan, terminalWidth() ?? USUAL_WIDTH)) print(line);
  print('');
  if (atRisk.length > 0) {
    print('will probably be offline when their certificate ends:');
    printTable(
      ['device', 'certificate ends', 'last seen', 'usually away', 'expected back'],
      atRisk.map(({ deviceId, notAfter, lastSeen, usualGapMs, expectedBack }) => [
        deviceId,
        formatTime(notAfter, now),
        formatTime(lastSeen, now),
        usualGapMs === null ? '-' : formatSpan(usualGapMs),
        formatTime(expectedBack, now),
      ]),
      '',
    );
  } else say('no device is expected to be offline when its certificate ends');
  if (!plan.isComplete) say(`only the ${plan.examined} certificates that are due first were looked at for this`);
}

/** One bar a line; several bars become one where there are more than a screen holds. */
export function formatHistogram(
  { forecast, widthMs }: Pick<RenewalPlan, 'forecast' | 'widthMs'>,
  columns: number,
): string[] {
  const most = Math.max(1, ...forecast.map(({ renewals }) => renewals));
  const labels = forecast.map(({ from }) => formatMoment(from, widthMs));
  const counts = forecast.map(({ renewals }) => String(renewals));
  const labelWidth = Math.max(...labels.map(({ length }) => length), 0);
  const countWidth = Math.max(...counts.map(({ length }) => length), 0);
  const room = Math.max(8, columns - labelWidth - countWidth - 4);
  return forecast.map(({ renewals }, place) => {
    const eighths = Math.max(renewals > 0 ? 1 : 0, Math.round((renewals / most) * room * 8));
    const bar = '█'.repeat(Math.floor(eighths / 8)) + (PARTS[eighths % 8] ?? '');
    return `${labels[place]?.padEnd(labelWidth)}  ${counts[place]?.padStart(countWidth)}  ${bar}`.trimEnd();
  });
}

/** As fine as the bars are. */
function formatMoment(at: number, widthMs: number): string {
  const [date = '', time = ''] = formatLocalTime(at).split('T');
  if (widthMs >= DAY) return date;
  return `${date.slice(5)} ${time.slice(0, widthMs >= 60_000 ? 5 : 8)}`;
}

/** Two units at most: 3 d 4 h, 12 min, 40 s. */
export function formatSpan(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ];
  let rest = seconds;
  const parts: string[] = [];
  for (const [name, size] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${name}`);
  }
  return parts.slice(0, 2).join(' ') || '0 s';
}
