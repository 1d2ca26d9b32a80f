import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** DER of the client's certificate and a short name for it in rate limits. */
export type PeerCertificate = { der: Buffer; fingerprint: string };

const seen = new WeakMap<Socket, PeerCertificate | null>();

/**
 * The certificate the client showed in this TLS session; the handshake proved that it holds the private key, and
 * nothing else: whose it is and whether it is any good is for the operations to judge. Read once per connection.
 */
export function peerCertificateOf(socket: Socket): PeerCertificate | undefined {
  let peer = seen.get(socket);
  if (peer === undefined) {
    const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
    peer = certificate === undefined ? null : { der: certificate.raw, fingerprint: certificate.fingerprint256 };
    seen.set(socket, peer);
  }
  return peer ?? undefined;
}
