import { createHash } from 'node:crypto';
import { levelFor, type RenewalCalendar, type Slot, slotAt, widthOf } from './renewal-calendar.ts';
import { idealMoment, type Life, type RenewalWindow, roomOf } from './renewal-rule.ts';

/** What the gateway plans with: half of what it can issue, the other half is for what comes unplanned. */
export const PLANNED_SHARE = 0.5;

/** Windows are spread over at least this share of the life: 2 % each way, as agents do by themselves. */
const LEAST_SPREAD = 0.04;

/** Looked at for each certificate: with eight, the fullest slot is hardly ever more than three above the mean. */
const CHOICES = 8;
/** Slots of a range that are all looked at, once none of the choices has room left. */
const MOST_LOOKED_AT = 4096;

/** How many renewals a slot of this width is meant for, at `rate` issues a second; at least one. */
export function shareOf(level: number, rate: number): number {
  return Math.max(1, (PLANNED_SHARE * rate * widthOf(level)) / 1000);
}

/**
 * The slot in which a certificate is to be renewed. All of N certificates that are due around the same time lie in a
 * range of at least N / (0.5 R) at R issues a second, and within it each takes one of the emptiest slots, so that no
 * slot gets more than its share as long as the range has room at all. The same calendar and serial give the same slot.
 */
export function chooseSlot(calendar: RenewalCalendar, wish: { serial: string; life: Life; rate: number }): Slot {
  const { serial, life, rate } = wish;
  const level = levelFor(life.until - life.from);
  const range = rangeFor(calendar, life, rate);
  const first = slotAt(level, range.start).index;
  const slots = Math.max(1, slotAt(level, range.end).index - first);
  const digest = createHash('sha256').update(serial).digest();
  let best: { slot: Slot; load: number } | undefined;
  const look = (offset: number) => {
    const slot = { level, index: first + offset };
    const load = calendar.load(slot);
    if (best === undefined || load < best.load) best = { slot, load };
  };
  for (let choice = 0; choice < CHOICES; choice += 1) look(digest.readUInt32BE(choice * 4) % slots);
  if (best !== undefined && best.load + 1 > shareOf(level, rate)) {
    const step = Math.ceil(slots / MOST_LOOKED_AT);
    for (let offset = 0; offset < slots; offset += step) look(offset);
  }
  return best?.slot ?? { level, index: first };
}

/** Whole milliseconds. */
export function windowOf({ level, index }: Slot): RenewalWindow {
  const width = widthOf(level);
  return { start: Math.round(index * width), end: Math.round((index + 1) * width) };
}

/** As wide as what is planned there needs, around the ideal moment and within the room that the life leaves. */
function rangeFor(calendar: RenewalCalendar, life: Life, rate: number): RenewalWindow {
  const room = roomOf(life);
  const ideal = idealMoment(life);
  for (let width = LEAST_SPREAD * (life.until - life.from); ; width *= 1.5) {
    const range = { start: Math.max(room.start, ideal - width / 2), end: Math.min(room.end, ideal + width / 2) };
    const capacity = (PLANNED_SHARE * rate * (range.end - range.start)) / 1000;
    const isWhole = range.start === room.start && range.end === room.end;
    if (isWhole || calendar.count(range.start, range.end) + 1 <= capacity) return range;
  }
}
