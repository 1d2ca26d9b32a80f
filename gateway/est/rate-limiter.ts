import { GatewayError } from '#gateway/domain/gateway-error.ts';

export type RateBudget = {
  /** How many may come at once. */
  burst: number;
  /** Milliseconds until one of them is forgotten. */
  forgivenAfter: number;
};

/** Keys remembered; past it the one charged longest ago is forgotten. Bounds memory under a flood of addresses. */
const MAX_KEYS = 20_000;

/**
 * A token bucket per key: each has a debt that shrinks by one every `forgivenAfter`; at `burst` it has to wait until it
 * is below again. Whether what is charged is a request or only a failed one is up to the caller. Times in milliseconds.
 */
export class RateLimiter {
  readonly #budget: RateBudget;
  readonly #says: string;
  /** Key -> the moment its debt is paid (monotonic). Oldest charge first. */
  readonly #paidAt = new Map<string, number>();

  /** @param says what a caller over its budget is told */
  constructor(budget: RateBudget, says: string) {
    this.#budget = budget;
    this.#says = says;
  }

  /** @throws GatewayError RATE_LIMITED that names the seconds to wait. */
  check(key: string, now: number): void {
    const wait = this.#waitOf(key, now);
    if (wait > 0) throw new GatewayError('RATE_LIMITED', this.#says, { retryAfter: Math.ceil(wait / 1000) });
  }

  charge(key: string, now: number): void {
    const { burst, forgivenAfter } = this.#budget;
    const paidAt = Math.max(this.#paidAt.get(key) ?? now, now) + forgivenAfter;
    this.#paidAt.delete(key);
    // Never more debt than one burst: the wait stays the same however long a caller goes on.
    this.#paidAt.set(key, Math.min(paidAt, now + burst * forgivenAfter));
    if (this.#paidAt.size > MAX_KEYS) {
      const [oldest] = this.#paidAt.keys();
      if (oldest !== undefined) this.#paidAt.delete(oldest);
    }
  }

  /** @returns false when the key is over its budget; then nothing is charged. */
  take(key: string, now: number): boolean {
    if (this.#waitOf(key, now) > 0) return false;
    this.charge(key, now);
    return true;
  }

  #waitOf(key: string, now: number): number {
    const paidAt = this.#paidAt.get(key);
    if (paidAt === undefined) return 0;
    const { burst, forgivenAfter } = this.#budget;
    return paidAt - now - (burst - 1) * forgivenAfter;
  }
}
