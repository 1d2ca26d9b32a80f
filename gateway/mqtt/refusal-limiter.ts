import { createHash } from 'node:crypto';

type Refusals = { count: number; since: number; isTold: boolean };

/** Stops the table from growing with attackers' certificates: past it nobody new is remembered until a sweep. */
const MAX_REMEMBERED = 10_000;

/** Of a certificate, DER: what a maker puts into its serial must not count for one of ours. */
export function fingerprintOf(certificate: Buffer): string {
  return createHash('sha256').update(certificate).digest('base64');
}

/**
 * A refused device gets its CONNACK 5, so that it can tell refusal from a bad network; one that keeps coming is cut
 * right after TLS for the rest of the window, before it costs a look into the database.
 */
export class RefusalLimiter {
  readonly #maxRefusals: number;
  readonly #windowMs: number;
  readonly #refusals = new Map<string, Refusals>();

  constructor(limits: { maxRefusals: number; refusalWindowMs: number }) {
    this.#maxRefusals = limits.maxRefusals;
    this.#windowMs = limits.refusalWindowMs;
  }

  get isEmpty(): boolean {
    return this.#refusals.size === 0;
  }

  refused(key: string, now: number): void {
    const known = this.#refusals.get(key);
    if (known !== undefined && now - known.since < this.#windowMs) known.count += 1;
    else if (known !== undefined || this.#refusals.size < MAX_REMEMBERED)
      this.#refusals.set(key, { count: 1, since: now, isTold: false });
  }

  admitted(key: string): void {
    this.#refusals.delete(key);
  }

  isBlocked(key: string, now: number): boolean {
    const known = this.#refusals.get(key);
    return known !== undefined && known.count >= this.#maxRefusals && now - known.since < this.#windowMs;
  }

  /** True once in a window: the log must not grow with every connection that is cut. */
  isToBeTold(key: string): boolean {
    const known = this.#refusals.get(key);
    if (known === undefined || known.isTold) return false;
    known.isTold = true;
    return true;
  }

  sweep(now: number): void {
    for (const [key, { since }] of this.#refusals) if (now - since >= this.#windowMs) this.#refusals.delete(key);
  }
}
