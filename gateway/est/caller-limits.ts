import type { FastifyRequest } from 'fastify';
import type { GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { parseBasicCredentials } from './basic-credentials.ts';
import type { EstLimits } from './est-deps.ts';
import { callerNetwork, FailureLimiter } from './failure-limiter.ts';
import { peerCertificateOf } from './peer-certificate.ts';

/** Refusals that are not the caller's fault, or the ordinary first step of a client that waits for the challenge. */
const FREE_REFUSALS: readonly GatewayErrorCode[] = [
  'CREDENTIALS_MISSING',
  'NOT_FOUND',
  'RATE_LIMITED',
  'AUTHORITY_UNAVAILABLE',
  'STORE_UNAVAILABLE',
  'OVERLOADED',
  'INTERNAL',
];

/** How much failing is borne: from one identity at one address, and, more, from a whole address. */
export class CallerLimits {
  readonly #byIdentity: FailureLimiter;
  readonly #byAddress: FailureLimiter;

  constructor(limits: EstLimits) {
    this.#byIdentity = new FailureLimiter({
      burst: limits.failuresPerIdentity,
      forgivenAfter: limits.identityForgivenAfter,
    });
    this.#byAddress = new FailureLimiter({
      burst: limits.failuresPerAddress,
      forgivenAfter: limits.addressForgivenAfter,
    });
  }

  /** @throws GatewayError RATE_LIMITED */
  check(request: FastifyRequest, now: number): void {
    for (const [limiter, caller] of this.#callersOf(request)) limiter.check(caller, now);
  }

  recordRefusal(request: FastifyRequest, code: GatewayErrorCode, now: number): void {
    if (FREE_REFUSALS.includes(code)) return;
    for (const [limiter, caller] of this.#callersOf(request)) limiter.recordFailure(caller, now);
  }

  /** The identity is what is claimed or shown, not yet believed: a neighbour has another one, and that is enough here. */
  #callersOf({ ip, headers, raw }: FastifyRequest): [FailureLimiter, string][] {
    const network = callerNetwork(ip);
    const name = parseBasicCredentials(headers.authorization)?.deviceId.slice(0, 64);
    const certificate = peerCertificateOf(raw.socket)?.fingerprint;
    const callers: [FailureLimiter, string][] = [[this.#byAddress, network]];
    // Both count, so that neither can be varied to escape the other.
    for (const identity of [name, certificate]) {
      if (identity !== undefined) callers.push([this.#byIdentity, `${network} ${identity}`]);
    }
    return callers;
  }
}
