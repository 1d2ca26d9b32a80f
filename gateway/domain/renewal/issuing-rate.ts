/** Issues a second of a gateway that has not measured itself yet: a small machine does ten times as many. */
const UNMEASURED = 50;
/** A sample is this many issues, or this long at work, whichever comes first; of fewer than LEAST nothing is learned. */
const SAMPLE_ISSUES = 64;
const SAMPLE_MS = 2_000;
const LEAST = 8;
/** With so many at work at once the gateway was busy: it could not have done more. */
const BUSY_WITH = 4;

/**
 * How many certificates a second this gateway can issue, measured while it issues: a moving average of what it did per
 * second at work. One request after the other tells only what it can do at least, so that such a sample raises the
 * figure and never lowers it.
 */
export class IssuingRate {
  #perSecond: number;
  #isMeasured: boolean;
  #atWork = 0;
  #changedAt = 0;
  #busyMs = 0;
  /** Milliseconds of work, summed over those at work at once. */
  #workMs = 0;
  #issued = 0;

  /** @param perSecond of the last run. */
  constructor(perSecond: number = UNMEASURED) {
    this.#perSecond = Number.isFinite(perSecond) && perSecond > 0 ? perSecond : UNMEASURED;
    this.#isMeasured = this.#perSecond !== UNMEASURED;
  }

  get perSecond(): number {
    return this.#perSecond;
  }

  /** False as long as the figure is what a gateway is taken for that has issued next to nothing. */
  get isMeasured(): boolean {
    return this.#isMeasured;
  }

  /** @param now monotonic milliseconds. */
  begin(now: number): void {
    this.#advance(now);
    this.#atWork += 1;
  }

  /** @param issued false: it failed, and says nothing about the rate. */
  end(now: number, issued: boolean): void {
    this.#advance(now);
    this.#atWork = Math.max(0, this.#atWork - 1);
    if (issued) this.#issued += 1;
    if (this.#issued >= SAMPLE_ISSUES || this.#busyMs >= SAMPLE_MS) this.#learn();
  }

  #advance(now: number): void {
    if (this.#atWork > 0) {
      const passed = Math.max(0, now - this.#changedAt);
      this.#busyMs += passed;
      this.#workMs += passed * this.#atWork;
    }
    this.#changedAt = now;
  }

  #learn(): void {
    const sample = (this.#issued * 1000) / Math.max(1, this.#busyMs);
    const atOnce = this.#workMs / Math.max(1, this.#busyMs);
    if (this.#issued >= LEAST) {
      this.#isMeasured = true;
      if (sample > this.#perSecond) this.#perSecond += (sample - this.#perSecond) / 2;
      else if (atOnce >= BUSY_WITH) this.#perSecond += (sample - this.#perSecond) / 10;
    }
    this.#issued = 0;
    this.#busyMs = 0;
    this.#workMs = 0;
  }
}
