import type { GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { Log, LogFacts } from '#gateway/ports/log.ts';

type Sum = { count: number; codes: Partial<Record<GatewayErrorCode, number>> };

/** Refusals of one address and interval that get a line each; what is slowed down gets none of its own. */
const LINES_EACH = 50;
/** Addresses told apart in one interval; what comes from further ones is summed together. */
const MAX_ADDRESSES = 1_000;
const OTHERS = 'others';

/**
 * What this door refuses, in the log: a line each while they are few, then one line per address and interval with
 * their number, so that whoever is refused a thousand times a second does not write the log at that pace.
 */
export class RefusalLog {
  readonly #log: Log;
  readonly #interval: number;
  readonly #lines = new Map<string, number>();
  readonly #sums = new Map<string, Sum>();
  #timer: NodeJS.Timeout | undefined;

  /** @param interval milliseconds */
  constructor(log: Log, interval: number) {
    this.#log = log;
    this.#interval = interval;
  }

  record(level: 'info' | 'debug', address: string, code: GatewayErrorCode, facts: LogFacts): void {
    this.#timer ??= setTimeout(() => this.flush(), this.#interval).unref();
    const network = this.#nameOf(networkOf(address));
    const lines = this.#lines.get(network) ?? 0;
    if (code !== 'RATE_LIMITED' && lines < LINES_EACH) {
      this.#lines.set(network, lines + 1);
      this.#log[level]('est request refused', facts);
      return;
    }
    const sum = this.#sums.get(network) ?? { count: 0, codes: {} };
    sum.count += 1;
    sum.codes[code] = (sum.codes[code] ?? 0) + 1;
    this.#sums.set(network, sum);
  }

  /** Writes what is summed up, and begins anew. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [address, { count, codes }] of this.#sums) {
      this.#log.info('est requests refused', { address, count, codes, withinSeconds: this.#interval / 1000 });
    }
    this.#sums.clear();
    this.#lines.clear();
  }

  #nameOf(network: string): string {
    const isKnown = this.#lines.has(network) || this.#sums.has(network);
    return isKnown || Math.max(this.#lines.size, this.#sums.size) < MAX_ADDRESSES ? network : OTHERS;
  }
}
