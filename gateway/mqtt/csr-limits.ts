import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import { TokenBucket } from './token-bucket.ts';

export type CsrRates = Pick<
  MqttLimits,
  'maxCsrsInWork' | 'csrBurst' | 'csrPerSecond' | 'csrAddressBurst' | 'csrAddressPerSecond'
>;

/** Beyond this many the strangers share one budget: the tables must not grow with an attacker's names. */
const MAX_KEPT = 20_000;

/** Tokens of one request, until it is known what came of it. */
export type SpentTokens = {
  /** It was granted. */
  giveBack(): void;
  /** It was not its fault. */
  giveBackToNetwork(): void;
};

/**
 * How much asking is borne, from one identity over all its connections and from one network, and how many requests are
 * worked on at once. A request that is granted gives its tokens back: a fleet behind one address is not slowed, one
 * that is always refused is, and its neighbours are not. What fails on our side gives back that of the network: an
 * identity that asks at once again and again is slowed, its neighbours are not.
 */
export class CsrLimits {
  readonly #rates: CsrRates;
  readonly #byIdentity = new Map<string, TokenBucket>();
  readonly #byNetwork = new Map<string, TokenBucket>();
  #inWork = 0;
  #turnedAway = 0;

  constructor(rates: CsrRates) {
    this.#rates = rates;
  }

  get inWork(): number {
    return this.#inWork;
  }

  /** @throws GatewayError RATE_LIMITED; each look costs a token. */
  take({ identity, address }: { identity: string; address: string }, now: number): SpentTokens {
    const { csrBurst, csrPerSecond, csrAddressBurst, csrAddressPerSecond } = this.#rates;
    const own = bucketOf(this.#byIdentity, identity, () => new TokenBucket(csrBurst, csrPerSecond, now));
    if (!own.take(now)) throw tooMany('this device asks too often', own.secondsToNext(now));
    const network = bucketOf(
      this.#byNetwork,
      networkOf(address),
      () => new TokenBucket(csrAddressBurst, csrAddressPerSecond, now),
    );
    if (!network.take(now)) {
      throw tooMany('too many refused requests from this network', network.secondsToNext(now));
    }
    return {
      giveBack: () => {
        own.giveBack();
        network.giveBack();
      },
      giveBackToNetwork: () => network.giveBack(),
    };
  }

  /**
   * Past so many at once the answer is no, at once: a queue would only make everybody late.
   * @throws GatewayError OVERLOADED with a delay that differs from one refusal to the next
   */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.#inWork >= this.#rates.maxCsrsInWork) {
      this.#turnedAway += 1;
      throw new GatewayError('OVERLOADED', 'too many enrollments at once', { retryAfter: 1 + (this.#turnedAway % 5) });
    }
    this.#inWork += 1;
    try {
      return await work();
    } finally {
      this.#inWork -= 1;
    }
  }

  sweep(now: number): void {
    for (const buckets of [this.#byIdentity, this.#byNetwork]) {
      for (const [key, bucket] of buckets) if (bucket.isFull(now)) buckets.delete(key);
    }
  }
}

function bucketOf(buckets: Map<string, TokenBucket>, key: string, make: () => TokenBucket): TokenBucket {
  const kept = buckets.has(key) || buckets.size < MAX_KEPT ? key : '';
  let bucket = buckets.get(kept);
  if (bucket === undefined) {
    bucket = make();
    buckets.set(kept, bucket);
  }
  return bucket;
}

function tooMany(why: string, seconds: number): GatewayError {
  return new GatewayError('RATE_LIMITED', why, { retryAfter: Math.max(1, Math.ceil(seconds)) });
}
