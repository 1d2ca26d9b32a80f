/**
 * How many refusals per address go into the audit: a token bucket each, in a bounded table. What exceeds it is still
 * counted and logged, so nothing is hidden; the database just does not grow at a stranger's pace.
 */
export class RefusalBudget {
  readonly #buckets = new Map<string, { tokens: number; at: number }>();
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #maxAddresses: number;

  constructor(options: { burst: number; perSecond: number; maxAddresses: number }) {
    this.#burst = options.burst;
    this.#perSecond = options.perSecond;
    this.#maxAddresses = options.maxAddresses;
  }

  /** @param now milliseconds. @returns true when one more may be written for this address. */
  take(address: string, now: number): boolean {
    const bucket = this.#buckets.get(address) ?? { tokens: this.#burst, at: now };
    const tokens = Math.min(this.#burst, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * this.#perSecond);
    // Re-inserted, so that the first key of the map is the one unused for longest.
    this.#buckets.delete(address);
    if (this.#buckets.size >= this.#maxAddresses) {
      const oldest = this.#buckets.keys().next();
      if (oldest.done !== true) this.#buckets.delete(oldest.value);
    }
    this.#buckets.set(address, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    return tokens >= 1;
  }
}
