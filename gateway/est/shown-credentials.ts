import type { FastifyRequest } from 'fastify';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { parseBasicCredentials } from './basic-credentials.ts';
import type { EstCredentials } from './est-deps.ts';
import { type PeerCertificate, peerCertificateOf } from './peer-certificate.ts';

/**
 * For a first enrollment: HTTP Basic when there is an Authorization header, else the certificate of the TLS session, as
 * of a maker, a claim or a registrar.
 * @throws GatewayError CREDENTIALS_MISSING
 */
export function enrollCredentialsOf({ headers, raw }: FastifyRequest): EstCredentials {
  const basic = parseBasicCredentials(headers.authorization);
  if (basic !== undefined) return { by: 'ticket', ...basic };
  const peer = headers.authorization === undefined ? peerCertificateOf(raw.socket) : undefined;
  if (peer !== undefined) return byCertificate(peer);
  throw new GatewayError(
    'CREDENTIALS_MISSING',
    "the first enrollment needs a ticket, or its maker's certificate in TLS",
  );
}

/** What was shown, whatever it is good for, for the record. @returns undefined: nothing */
export function credentialsShown({ headers, raw }: FastifyRequest): EstCredentials | undefined {
  const basic = parseBasicCredentials(headers.authorization);
  if (basic !== undefined) return { by: 'ticket', ...basic };
  const peer = peerCertificateOf(raw.socket);
  return peer === undefined ? undefined : byCertificate(peer);
}

export function byCertificate({ der, chain }: PeerCertificate): EstCredentials {
  return { by: 'certificate', peer: der, chain };
}

/** RFC 7030 3.3.2: the certificate to be renewed authenticates the TLS session. @throws GatewayError CREDENTIALS_MISSING */
export function currentCertificateOf({ raw }: FastifyRequest): PeerCertificate {
  const peer = peerCertificateOf(raw.socket);
  if (peer !== undefined) return peer;
  throw new GatewayError(
    'CREDENTIALS_MISSING',
    'no client certificate was shown: re-enroll over TLS with the current certificate, or use simpleenroll',
  );
}
