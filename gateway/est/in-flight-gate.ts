import { GatewayError } from '#gateway/domain/gateway-error.ts';

/** Past this many at once a request is turned away immediately: a queue would only make everybody late. */
export class InFlightGate {
  readonly #limit: number;
  #inside = 0;
  #refused = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws GatewayError OVERLOADED with a delay that differs from one refusal to the next, so they do not return together. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.#inside >= this.#limit) {
      this.#refused += 1;
      throw new GatewayError('OVERLOADED', 'too many enrollments at once', { retryAfter: 1 + (this.#refused % 5) });
    }
    this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#inside -= 1;
    }
  }
}
