/** Shortest slot. Powers of two of it are the others, and exactly one of them is a minute. */
const FINEST_MS = 60_000 / 1024;
const MINUTE_LEVEL = 10;
/** 2.8 days: a range of years is then a few hundred sums. */
const COARSEST_LEVEL = 22;
const PAGE = 1024;

/** A stretch of time in which renewals are planned. `index` counts from 1970 in steps of its width. */
export type Slot = { level: number; index: number };

/** Milliseconds; not always a whole number. */
export function widthOf(level: number): number {
  return FINEST_MS * 2 ** level;
}

export function slotAt(level: number, at: number): Slot {
  return { level, index: Math.floor(at / widthOf(level)) };
}

/** A minute, or a thousandth of the life when that is shorter. */
export function levelFor(lifeMs: number): number {
  const level = Math.floor(Math.log2(Math.max(lifeMs / 1000, FINEST_MS) / FINEST_MS));
  return Math.min(MINUTE_LEVEL, Math.max(0, level));
}

/**
 * How many renewals are planned when. Certificates of long lives take slots of a minute, short ones finer slots; what
 * is planned in a wider slot counts in each finer one with its share. It is an aid, not a record: filled from the index
 * of windows when the gateway starts and now and then after that, kept up to date in between.
 */
export class RenewalCalendar {
  /** By level: planned in a slot of this width or a finer one within it. */
  readonly #inside = Array.from({ length: COARSEST_LEVEL + 1 }, () => new Pages());
  /** By level: planned in a slot of exactly this width. */
  readonly #exactly = Array.from({ length: MINUTE_LEVEL + 1 }, () => new Pages());

  /** @param count below 0 takes out; what was never put in is not counted below nothing. */
  add({ level, index }: Slot, count = 1): void {
    const planned = this.#exactly[level];
    if (planned === undefined) throw new RangeError('nothing is planned in slots of more than a minute');
    const change = Math.max(count, -planned.get(index));
    if (change === 0) return;
    planned.add(index, change);
    for (let above = level; above <= COARSEST_LEVEL; above += 1) {
      // Indices of fine slots are beyond 32 bits: no shifts.
      this.#inside[above]?.add(Math.floor(index / 2 ** (above - level)), change);
    }
  }

  /** Renewals expected within the slot; a fraction where wider slots lie over it. */
  load({ level, index }: Slot): number {
    let load = this.#inside[level]?.get(index) ?? 0;
    for (let wider = level + 1; wider <= MINUTE_LEVEL; wider += 1) {
      const parts = 2 ** (wider - level);
      load += (this.#exactly[wider]?.get(Math.floor(index / parts)) ?? 0) / parts;
    }
    return load;
  }

  /** Renewals expected from `start` to `end`, to about a percent of the range: slots at its edges count whole. */
  count(start: number, end: number): number {
    let level = 0;
    while (level < COARSEST_LEVEL && (end - start) / widthOf(level) > 128) level += 1;
    const last = slotAt(level, Math.max(start, end - 1)).index;
    let sum = 0;
    for (let index = slotAt(level, start).index; index <= last; index += 1) sum += this.load({ level, index });
    return sum;
  }
}

/** A sparse list of counts. */
class Pages {
  readonly #pages = new Map<number, Uint32Array>();

  get(index: number): number {
    return this.#pages.get(Math.floor(index / PAGE))?.[index % PAGE] ?? 0;
  }

  add(index: number, change: number): void {
    const number = Math.floor(index / PAGE);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(PAGE);
      this.#pages.set(number, page);
    }
    page[index % PAGE] = Math.max(0, (page[index % PAGE] ?? 0) + change);
  }
}
