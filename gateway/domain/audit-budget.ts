/**
 * How many rows somebody may cause in the audit: a token bucket per key, in a bounded table. What exceeds it is still
 * counted and logged, so nothing is hidden; the database just does not grow at the pace of one who asks in a loop.
 */
export class AuditBudget {
  readonly #buckets = new Map<string, { tokens: number; at: number }>();
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #maxKeys: number;

  constructor(options: { burst: number; perSecond: number; maxKeys: number }) {
    this.#burst = options.burst;
    this.#perSecond = options.perSecond;
    this.#maxKeys = options.maxKeys;
  }

  /** @param now milliseconds. @returns true when one more may be written for this key. */
  take(key: string, now: number): boolean {
    const bucket = this.#buckets.get(key) ?? { tokens: this.#burst, at: now };
    const tokens = Math.min(this.#burst, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * this.#perSecond);
    // Re-inserted, so that the first key of the map is the one unused for longest.
    this.#buckets.delete(key);
    if (this.#buckets.size >= this.#maxKeys) {
      const oldest = this.#buckets.keys().next();
      if (oldest.done !== true) this.#buckets.delete(oldest.value);
    }
    this.#buckets.set(key, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    return tokens >= 1;
  }
}
