import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
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

/** Refusals of somebody who showed nothing that this gateway ever gave out. */
const REFUSALS_OF_STRANGERS: readonly GatewayErrorCode[] = ['TICKET_UNKNOWN', 'CERTIFICATE_UNKNOWN'];

/**
 * How much failing is borne: from one credential at one address, and, more, from all strangers at an address.
 * Many devices share an address (NAT), so an address is never a reason to turn away a request that was not judged yet:
 * who brings a good ticket or certificate is served however much its neighbours fail.
 */
export class CallerLimits {
  readonly #byCredential: FailureLimiter;
  readonly #strangersByAddress: FailureLimiter;

  constructor(limits: EstLimits) {
    this.#byCredential = new FailureLimiter({
      burst: limits.failuresPerIdentity,
      forgivenAfter: limits.identityForgivenAfter,
    });
    this.#strangersByAddress = new FailureLimiter({
      burst: limits.failuresPerAddress,
      forgivenAfter: limits.addressForgivenAfter,
    });
  }

  /** Before any work: a client that keeps failing with the same credential. @throws GatewayError RATE_LIMITED */
  check(request: FastifyRequest, now: number): void {
    for (const credential of credentialsShown(request)) this.#byCredential.check(credential, now);
  }

  /** @returns what the caller is told: the refusal itself, or RATE_LIMITED to a stranger from where too many came. */
  judgeRefusal(request: FastifyRequest, refusal: GatewayError, now: number): GatewayError {
    const { code } = refusal;
    if (FREE_REFUSALS.includes(code)) return refusal;
    for (const credential of credentialsShown(request)) this.#byCredential.recordFailure(credential, now);
    if (!REFUSALS_OF_STRANGERS.includes(code)) return refusal;
    const network = callerNetwork(request.ip);
    try {
      this.#strangersByAddress.check(network, now);
    } catch (slowed) {
      if (slowed instanceof GatewayError) return slowed;
      throw slowed;
    }
    this.#strangersByAddress.recordFailure(network, now);
    return refusal;
  }
}

/**
 * What is shown, believed or not; both count, so that neither can be varied to escape the other. The ticket is part of
 * it (as a hash): with the name alone, a neighbour that tries wrong tickets would lock out the device it names.
 */
function credentialsShown({ ip, headers, raw }: FastifyRequest): string[] {
  const basic = parseBasicCredentials(headers.authorization);
  const certificate = peerCertificateOf(raw.socket)?.fingerprint;
  const shown = [
    ...(basic === undefined ? [] : [sha256(`${basic.deviceId}:${basic.ticket}`)]),
    ...(certificate === undefined ? [] : [certificate]),
  ];
  return shown.map((credential) => `${callerNetwork(ip)} ${credential}`);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
