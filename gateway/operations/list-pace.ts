import type { Clock } from '#gateway/ports/clock.ts';

/** X.509 times are whole seconds: two lists in one second could not be told apart (thisUpdate must rise). */
export const SECOND = 1000;
/** The next lists come so many times later than these took: in a long series of revocations a tenth is spent on lists. */
const PACE = 10;
const LONGEST_INTERVAL_MS = 5_000;

/** How soon after the last lists the next ones are made. */
export class ListPace {
  readonly #clock: Clock;
  #lastThisUpdate = 0;
  #lastRoundMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds between the last lists and the next. */
  get interval(): number {
    return Math.min(LONGEST_INTERVAL_MS, Math.max(SECOND, PACE * this.#lastRoundMs));
  }

  /** Whether what is revoked now has to wait for its turn. */
  get isTooSoon(): boolean {
    const sinceLast = this.#clock.now() - this.#lastThisUpdate;
    return sinceLast >= 0 && sinceLast < this.interval;
  }

  /** Lists of this moment are made, milliseconds UTC. */
  begin(thisUpdate: number): void {
    this.#lastThisUpdate = thisUpdate;
  }

  /** Making them took so long. */
  took(milliseconds: number): void {
    this.#lastRoundMs = milliseconds;
  }

  /** Another process has made lists of these moments. Not one from a wrong clock's future: nobody would wait for that. */
  follow(times: readonly number[]): void {
    this.#lastThisUpdate = Math.max(this.#lastThisUpdate, ...times.filter((time) => time <= this.#clock.now()));
  }

  /** Until the last lists are `ms` old, by a clock that was not set back. */
  async pause(ms: number): Promise<void> {
    const wait = this.#lastThisUpdate + ms - this.#clock.now();
    if (wait > 0 && wait <= ms) await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
