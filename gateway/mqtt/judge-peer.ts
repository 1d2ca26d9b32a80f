import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { hasOnlyExpired } from './expired-certificate.ts';
import { explainTlsRefusal, NO_CERTIFICATE, type TlsRefusal } from './tls-refusal.ts';

/** Whose key the handshake has proved. */
export type AcceptedPeer = {
  certificate: X509Certificate;
  /** It has ended: it may open the expired lane, and is no device's session whatever the clock says by then. */
  hasExpired: boolean;
};

/**
 * The verdict on a client whose handshake is finished. Node refuses nobody here (see tls-options.ts), so this is where it
 * is done: what is not accepted by name is refused. OpenSSL has verified the chain, the purpose and the dates; of what it
 * found wrong, the end of a certificate of ours is all that is borne.
 * @param issuers our issuing CAs @param now milliseconds UTC
 */
export function judgePeer(
  socket: TLSSocket,
  issuers: readonly Certificate[],
  now: number,
): { accepted: AcceptedPeer } | { refused: TlsRefusal } {
  // Once: only the first to read it finds what the client sent with it (see runtime/peer-chains.ts).
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return { refused: NO_CERTIFICATE };
  if (socket.authorized) return { accepted: { certificate, hasExpired: false } };
  // Typed as Error, but a code in a string.
  const verdict = (socket.authorizationError as unknown as string | null) ?? 'UNSPECIFIED';
  if (verdict === 'CERT_HAS_EXPIRED' && hasOnlyExpired(certificate.raw, issuers, now))
    return { accepted: { certificate, hasExpired: true } };
  return { refused: explainTlsRefusal(undefined, verdict) };
}
