import { PLANNED_SHARE, shareOf } from './choose-window.ts';
import { levelFor, type RenewalCalendar, type Slot, slotAt } from './renewal-calendar.ts';

/** A certificate whose window passed while nobody could renew. Milliseconds UTC. */
export type Missed = { serial: string; from: number; until: number };

/** Of what is left of its life, a certificate waits at most this share. */
const MOST_OF_LIFE_LEFT = 0.5;

/** So many may end so soon that they come in front of the even spread, instead of pressing all others together. */
const HURRIED = 0.1;

/**
 * New slots for windows that passed during an outage, those that end first in front. They are spread over as long as
 * the outage was, longer where the rate asks for it and shorter where their lives do, so that the time after is like
 * the time before. A slot that is full, also of what was planned for then anyway, is passed over, except by one that
 * finds no other before half of what is left of its life is gone. The calendar has them all afterwards.
 */
export function replanMissed(
  calendar: RenewalCalendar,
  missed: readonly Missed[],
  order: { now: number; rate: number; outageMs: number },
): { serial: string; slot: Slot }[] {
  const { now, rate } = order;
  const inOrder = missed.toSorted((a, b) => a.until - b.until || (a.serial < b.serial ? -1 : 1));
  const patienceOf = ({ until }: Missed) => MOST_OF_LIFE_LEFT * Math.max(0, until - now);
  const width = widthFor(inOrder.map(patienceOf), order);
  // Where looking for room begins, by level: all in front of it is full, and nothing is taken out here.
  const fullUntil = new Map<number, number>();
  return inOrder.map((certificate, place) => {
    const level = levelFor(certificate.until - certificate.from);
    const share = shareOf(level, rate);
    const isFull = (index: number) => calendar.load({ level, index }) + 1 > share;
    const patience = patienceOf(certificate);
    const first = slotAt(level, now).index + 1;
    const wanted = slotAt(level, now + Math.min((width * place) / inOrder.length, patience)).index + 1;
    const last = Math.max(wanted, slotAt(level, now + patience).index);
    let index = Math.min(last, Math.max(wanted, fullUntil.get(level) ?? wanted));
    while (index < last && isFull(index)) index += 1;
    if (index > wanted) fullUntil.set(level, index);
    if (isFull(index)) index = lastWithRoom(first, wanted - 1, isFull) ?? index;
    const slot = { level, index };
    calendar.add(slot);
    return { serial: certificate.serial, slot };
  });
}

/** @param patience of each, milliseconds, shortest first. */
function widthFor(patience: readonly number[], { rate, outageMs }: { rate: number; outageMs: number }): number {
  const count = patience.length;
  const needed = (count * 1000) / (PLANNED_SHARE * rate);
  let longest = outageMs;
  for (const [place, each] of patience.entries()) {
    if (place >= HURRIED * count && place > 0) longest = Math.min(longest, (each * count) / place);
  }
  return Math.max(needed, longest);
}

function lastWithRoom(first: number, from: number, isFull: (index: number) => boolean): number | undefined {
  for (let index = from; index >= first; index -= 1) if (!isFull(index)) return index;
  return undefined;
}
