/** Milliseconds of one slot: how much later than its time something is found at most, beside the pace of the sweep. */
const SLOT_MS = 5_000;

/** Things with a deadline, in slots of time, so that finding the due ones does not look at the rest. */
export class ExpiryWheel<T> {
  readonly #slots = new Map<number, Map<T, number>>();
  #swept: number;

  constructor(now: number) {
    this.#swept = slotOf(now);
  }

  add(item: T, deadline: number): void {
    const slot = slotOf(deadline);
    // Something added to the past must still be found.
    if (slot < this.#swept) this.#swept = slot;
    const items = this.#slots.get(slot);
    if (items === undefined) this.#slots.set(slot, new Map([[item, deadline]]));
    else items.set(item, deadline);
  }

  remove(item: T, deadline: number): void {
    const slot = slotOf(deadline);
    const items = this.#slots.get(slot);
    if (items?.delete(item) === true && items.size === 0) this.#slots.delete(slot);
  }

  /** Takes out what is due. The clock may jump either way in between: deadlines are compared, not counted down. */
  takeDue(now: number): T[] {
    const current = slotOf(now);
    const due: T[] = [];
    for (const slot of this.#slotsBetween(this.#swept, current)) {
      const items = this.#slots.get(slot);
      if (items === undefined) continue;
      for (const [item, deadline] of items) {
        if (deadline > now) continue;
        items.delete(item);
        due.push(item);
      }
      if (items.size === 0) this.#slots.delete(slot);
    }
    this.#swept = current;
    return due;
  }

  #slotsBetween(from: number, to: number): number[] {
    // A clock that jumped years makes the slots in between more than those that exist.
    if (to - from > this.#slots.size) return [...this.#slots.keys()].filter((slot) => slot <= to);
    return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
  }
}

function slotOf(time: number): number {
  return Math.floor(time / SLOT_MS);
}
