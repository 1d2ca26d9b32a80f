import { GatewayError } from '#gateway/domain/gateway-error.ts';

/** Past this many at once a request is turned away immediately: a queue would only make everybody late. */
export class InFlightGate {
  readonly #limit: number;
  readonly #onLeave: () => void;
  #inside = 0;
  #refused = 0;

  /** @param onLeave called after each piece of work, when there is a place again */
  constructor(limit: number, onLeave: () => void = () => {}) {
    this.#limit = limit;
    this.#onLeave = onLeave;
  }

  get inside(): number {
    return this.#inside;
  }

  /**
   * @param isModest false for one whose neighbourhood has asked more than its share: it is let in while at least half
   *   of the places are free, so that it uses what nobody else needs, and keeps nobody out.
   * @throws GatewayError OVERLOADED with a delay that differs from one refusal to the next, so they do not return together.
   */
  requireRoom(isModest = true): void {
    if (this.#inside >= (isModest ? this.#limit : Math.ceil(this.#limit / 2))) throw this.#refusal();
  }

  /** @returns what is told to everybody at the moment, or undefined when there is a place */
  whyFull(): GatewayError | undefined {
    return this.#inside < this.#limit ? undefined : this.#refusal();
  }

  /** @throws GatewayError OVERLOADED, as `requireRoom` */
  async pass<T>(work: () => Promise<T>, isModest = true): Promise<T> {
    this.requireRoom(isModest);
    this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#inside -= 1;
      this.#onLeave();
    }
  }

  #refusal(): GatewayError {
    this.#refused += 1;
    return new GatewayError('OVERLOADED', 'too many enrollments at once', { retryAfter: 1 + (this.#refused % 5) });
  }
}
