/** `Mon-Fri 08:00-18:00`, UTC. The end is not part of it; one that is before its begin goes on past midnight. */
export type TimeWindow = { days: ReadonlySet<number>; from: number; to: number };

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const WINDOW = /^(?:([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))? )?(\d\d):(\d\d)-(\d\d):(\d\d)$/;
const DAY_MINUTES = 24 * 60;
const MINUTE_MS = 60_000;
const DAY_MS = DAY_MINUTES * MINUTE_MS;

/** Without days: every day. @throws RangeError that says what is wrong */
export function parseTimeWindow(text: string): TimeWindow {
  const [, first, last, fromHour, fromMinute, toHour, toMinute] = WINDOW.exec(text.trim()) ?? [];
  const from = minutes(fromHour, fromMinute);
  const to = minutes(toHour, toMinute);
  if (from === undefined || to === undefined || from === DAY_MINUTES || from === to) {
    throw new RangeError(`"${text.slice(0, 40)}" is not a time window like "Mon-Fri 08:00-18:00" (UTC)`);
  }
  return { days: dayRange(first, last, text), from, to };
}

/** @param at milliseconds UTC */
export function isWithin({ days, from, to }: TimeWindow, at: number): boolean {
  const date = new Date(at);
  const minute = date.getUTCHours() * 60 + date.getUTCMinutes();
  const day = date.getUTCDay();
  if (from < to) return days.has(day) && minute >= from && minute < to;
  // Past midnight it still belongs to the day on which it began.
  return (days.has(day) && minute >= from) || (days.has((day + 6) % 7) && minute < to);
}

/** Seconds until one of these windows opens; 0 when one is open. @param at milliseconds UTC */
export function secondsUntilOpen(windows: readonly TimeWindow[], at: number): number {
  if (windows.some((window) => isWithin(window, at))) return 0;
  // Every window opens within a week. Each is looked at a few times, not each minute: refusals are asked for in a loop.
  const today = Math.floor(at / DAY_MS);
  let soonest = at + 8 * DAY_MS;
  for (const { days, from } of windows) {
    for (let day = today; day <= today + 7; day += 1) {
      const opens = day * DAY_MS + from * MINUTE_MS;
      if (opens >= at && days.has(new Date(opens).getUTCDay())) soonest = Math.min(soonest, opens);
    }
  }
  return Math.ceil((soonest - at) / 1000);
}

function minutes(hour: string | undefined, minute: string | undefined): number | undefined {
  const total = Number(hour) * 60 + Number(minute);
  return Number(minute) < 60 && total <= DAY_MINUTES ? total : undefined;
}

function dayRange(first: string | undefined, last: string | undefined, text: string): ReadonlySet<number> {
  if (first === undefined) return new Set(DAYS.keys());
  const from = DAYS.indexOf(first);
  const to = DAYS.indexOf(last ?? first);
  if (from < 0 || to < 0) throw new RangeError(`"${text.slice(0, 40)}": days are ${DAYS.join(', ')}`);
  const days = new Set<number>();
  for (let day = from; ; day = (day + 1) % 7) {
    days.add(day);
    if (day === to) return days;
  }
}
