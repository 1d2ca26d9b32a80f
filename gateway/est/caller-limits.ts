import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import { readTypedTicket } from '#gateway/domain/ticket.ts';
import { parseBasicCredentials } from './basic-credentials.ts';
import type { EstLimits } from './est-deps.ts';
import { peerCertificateOf } from './peer-certificate.ts';
import { RateLimiter } from './rate-limiter.ts';

/** Not the caller's fault, no refusal at all, or the ordinary first step of a client that waits for the challenge. */
const FREE_REFUSALS: readonly GatewayErrorCode[] = [
  'APPROVAL_PENDING',
  'APPROVAL_QUEUE_FULL',
  'CREDENTIALS_MISSING',
  'NOT_FOUND',
  'SERVER_KEYGEN_OFF',
  'RATE_LIMITED',
  'POLICY_WEBHOOK_UNAVAILABLE',
  'AUTHORITY_UNAVAILABLE',
  'STORE_UNAVAILABLE',
  'OVERLOADED',
  'INTERNAL',
];

/** Refusals of somebody who showed nothing that this gateway, or a maker it trusts, ever gave out. */
const REFUSALS_OF_STRANGERS: readonly GatewayErrorCode[] = [
  'TICKET_UNKNOWN',
  'CERTIFICATE_UNKNOWN',
  'MANUFACTURER_UNTRUSTED',
];

/** Of a ticket's 26 characters: who varies the rest is one guesser, and two tickets share these once in 2^40. */
const TICKET_PREFIX = 8;

const TOO_MANY_REFUSED = 'too many refused requests from here';

/**
 * How much is borne of whom.
 * - Failures: from one credential at one address, and, more, from all strangers at an address.
 * - Requests, whatever comes of them: of one device (its certificate, or its id with its ticket) and of all tickets that
 *   begin alike. Of an address only when the gateway is busy, see `isModest`.
 * Many devices share an address (NAT), so an address is never a reason to turn away a request that was not judged yet:
 * who brings a good ticket or certificate is served however much its neighbours fail.
 */
export class CallerLimits {
  readonly #failuresByCredential: RateLimiter;
  readonly #failuresOfStrangers: RateLimiter;
  readonly #byDevice: RateLimiter;
  readonly #byTicketPrefix: RateLimiter;
  readonly #byAddress: RateLimiter;

  constructor(limits: EstLimits) {
    this.#failuresByCredential = new RateLimiter(
      { burst: limits.failuresPerIdentity, forgivenAfter: limits.identityForgivenAfter },
      TOO_MANY_REFUSED,
    );
    this.#failuresOfStrangers = new RateLimiter(
      { burst: limits.failuresPerAddress, forgivenAfter: limits.addressForgivenAfter },
      TOO_MANY_REFUSED,
    );
    this.#byDevice = new RateLimiter(
      { burst: limits.requestsPerDevice, forgivenAfter: limits.deviceRequestForgottenAfter },
      'too many requests of this device',
    );
    this.#byTicketPrefix = new RateLimiter(
      { burst: limits.requestsPerTicketPrefix, forgivenAfter: limits.ticketPrefixForgottenAfter },
      'too many requests with tickets that begin like this one',
    );
    this.#byAddress = new RateLimiter(
      { burst: limits.requestsPerAddress, forgivenAfter: limits.addressRequestForgottenAfter },
      'too many requests from this address',
    );
  }

  /** Before any work: one that keeps failing with the same credential, or asks too often. @throws GatewayError RATE_LIMITED */
  check(request: FastifyRequest, now: number): void {
    const credentials = credentialsShown(request);
    for (const credential of credentials) this.#failuresByCredential.check(credential, now);
    for (const credential of credentials) this.#byDevice.check(credential, now);
    const prefix = ticketPrefixOf(request);
    if (prefix !== undefined) {
      this.#byTicketPrefix.check(prefix, now);
      this.#byTicketPrefix.charge(prefix, now);
    }
    for (const credential of credentials) this.#byDevice.charge(credential, now);
  }

  /** Counts the request. @returns false when its address has asked more than its share of a busy gateway. */
  isModest(request: FastifyRequest, now: number): boolean {
    return this.#byAddress.take(networkOf(request.ip), now);
  }

  /** @returns what the caller is told: the refusal itself, or RATE_LIMITED to a stranger from where too many came. */
  judgeRefusal(request: FastifyRequest, refusal: GatewayError, now: number): GatewayError {
    const { code } = refusal;
    if (FREE_REFUSALS.includes(code)) return refusal;
    for (const credential of credentialsShown(request)) this.#failuresByCredential.charge(credential, now);
    if (!REFUSALS_OF_STRANGERS.includes(code)) return refusal;
    const network = networkOf(request.ip);
    try {
      this.#failuresOfStrangers.check(network, now);
    } catch (slowed) {
      if (slowed instanceof GatewayError) return slowed;
      throw slowed;
    }
    this.#failuresOfStrangers.charge(network, now);
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
  return shown.map((credential) => `${networkOf(ip)} ${credential}`);
}

/** Whatever address it comes from: guessing is not sped up by having many. */
function ticketPrefixOf({ headers }: FastifyRequest): string | undefined {
  const basic = parseBasicCredentials(headers.authorization);
  return basic === undefined ? undefined : sha256(readTypedTicket(basic.ticket).slice(0, TICKET_PREFIX));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
