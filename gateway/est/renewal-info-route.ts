import type { FastifyInstance } from 'fastify';
import { parseCertId, RENEWAL_INFO_PATH, type RenewalInfo } from '#gateway/contract/renewal-info.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { EstLimits } from './est-deps.ts';
import type { EstServer } from './est-server.ts';
import { RateLimiter } from './rate-limiter.ts';
import type { RequestHandling } from './request-handling.ts';

/** Windows are moved after an outage: a cache between must not hold the old ones for long. */
const MOST_CACHED_SECONDS = 300;

/**
 * When a certificate is to be renewed (RFC 9773 4.2), without credentials: the name of a certificate holds 126 random
 * bits, and what is told is no secret. 400 for what is no name of one, 404 for one that is not ours.
 */
export function addRenewalInfoRoute(
  app: FastifyInstance<EstServer>,
  { deps, answer }: RequestHandling,
  limits: EstLimits,
): void {
  const budget = new RateLimiter(
    { burst: limits.renewalInfosPerAddress, forgivenAfter: limits.renewalInfoForgottenAfter },
    'too many questions for renewal information from this address',
  );
  app.get(`${RENEWAL_INFO_PATH}/:certId`, async (request, reply) => {
    const now = deps.clock.monotonic();
    const network = networkOf(request.ip);
    budget.check(network, now);
    budget.charge(network, now);
    const name = parseCertId((request.params as { certId: string }).certId);
    if (name === undefined) {
      throw new GatewayError(
        'REQUEST_INVALID',
        'the path ends with base64url of the AKI, a dot, base64url of the serial, without padding (RFC 9773 4.1)',
      );
    }
    const { window, retryAfter } = await deps.showRenewalInfo(name);
    const info: RenewalInfo = {
      suggestedWindow: { start: new Date(window.start).toISOString(), end: new Date(window.end).toISOString() },
    };
    answer(request, reply, {
      status: 200,
      contentType: 'application/json',
      body: JSON.stringify(info),
      headers: {
        'Retry-After': String(retryAfter),
        'Cache-Control': `public, max-age=${Math.min(retryAfter, MOST_CACHED_SECONDS)}`,
      },
    });
  });
}
