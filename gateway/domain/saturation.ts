/** Milliseconds after the last request that was turned away. */
const LASTS_MS = 2_000;

/**
 * Whether this gateway has more to do than it can: lately it has turned somebody away because of that. Who may choose when
 * to bring more work, as a renewal campaign does, waits as long. Times: monotonic milliseconds.
 */
export class Saturation {
  #turnedAwayAt = Number.NEGATIVE_INFINITY;

  turnedAway(now: number): void {
    this.#turnedAwayAt = now;
  }

  isAt(now: number): boolean {
    return now - this.#turnedAwayAt < LASTS_MS;
  }
}
