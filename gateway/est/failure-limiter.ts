import { GatewayError } from '#gateway/domain/gateway-error.ts';

export type FailureBudget = {
  /** Failures that may come at once. */
  burst: number;
  /** Milliseconds until one is forgiven. */
  forgivenAfter: number;
};

/** Callers remembered; past it the one that failed longest ago is forgotten. Bounds memory under a flood of addresses. */
const MAX_CALLERS = 20_000;

/**
 * Slows down a caller that keeps failing, and nobody else: only failures cost. Each caller has a debt that shrinks by
 * one every `forgivenAfter`; at `burst` it is turned away until it is below again.
 */
export class FailureLimiter {
  readonly #budget: FailureBudget;
  /** Caller -> the moment its debt is paid (milliseconds, monotonic). Oldest failure first. */
  readonly #paidAt = new Map<string, number>();

  constructor(budget: FailureBudget) {
    this.#budget = budget;
  }

  /** @throws GatewayError RATE_LIMITED that names the seconds to wait. */
  check(caller: string, now: number): void {
    const paidAt = this.#paidAt.get(caller);
    if (paidAt === undefined) return;
    const { burst, forgivenAfter } = this.#budget;
    const tooMuch = paidAt - now - (burst - 1) * forgivenAfter;
    if (tooMuch > 0) {
      throw new GatewayError('RATE_LIMITED', 'too many refused requests from here', {
        retryAfter: Math.ceil(tooMuch / 1000),
      });
    }
  }

  recordFailure(caller: string, now: number): void {
    const paidAt = Math.max(this.#paidAt.get(caller) ?? now, now) + this.#budget.forgivenAfter;
    this.#paidAt.delete(caller);
    // Never more debt than one burst: the wait stays the same however long a caller goes on.
    this.#paidAt.set(caller, Math.min(paidAt, now + this.#budget.burst * this.#budget.forgivenAfter));
    if (this.#paidAt.size > MAX_CALLERS) {
      const [oldest] = this.#paidAt.keys();
      if (oldest !== undefined) this.#paidAt.delete(oldest);
    }
  }
}

/** An IPv6 caller owns its whole /64: counting single addresses would give it 2^64 budgets. */
export function callerNetwork(address: string): string {
  if (!address.includes(':')) return address;
  const [, mapped] = /^::ffff:([0-9.]+)$/i.exec(address) ?? [];
  if (mapped !== undefined) return mapped;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const tailGroups = tail === undefined || tail === '' ? [] : tail.split(':');
  if (tail !== undefined) while (groups.length + tailGroups.length < 8) groups.push('0');
  return `${[...groups, ...tailGroups].slice(0, 4).join(':')}::/64`;
}
