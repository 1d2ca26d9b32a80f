import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';

/** More than any maker's path needs; what comes after is not looked at. */
const MAX_CHAIN = 8;

/**
 * The certificate the client showed in this TLS session; the handshake proved that it holds the private key, and
 * nothing else. Node's own verdict is not asked for: it takes a CA certificate for a client, and a leaf that may not
 * sign. Whose the certificate is and whether it is any good is for the operations to judge.
 */
export class PeerCertificate {
  /** A short name for it in rate limits. */
  readonly fingerprint: string;
  readonly #shown: X509Certificate;
  #parsed: Certificate | null | undefined;

  constructor(shown: X509Certificate) {
    this.#shown = shown;
    this.fingerprint = shown.fingerprint256;
  }

  get der(): Buffer {
    return this.#shown.raw;
  }

  /** What the client sent after its own certificate, DER, in its order; nothing of it is verified. */
  get chain(): Buffer[] {
    const chain: Buffer[] = [];
    for (
      let next = this.#shown.issuerCertificate;
      next !== undefined && chain.length < MAX_CHAIN;
      next = next.issuerCertificate
    ) {
      chain.push(next.raw);
    }
    return chain;
  }

  /** Whether it says to be the identity of a device here. Who shows another one has yet to enroll. */
  namesDeviceOf(trustDomain: string): boolean {
    return this.#read()?.uris.some((uri) => uri.startsWith(`spiffe://${trustDomain}/device/`)) ?? false;
  }

  #read(): Certificate | undefined {
    if (this.#parsed === undefined) {
      try {
        this.#parsed = parseCertificate(this.der);
      } catch (error) {
        if (!(error instanceof PkixError)) throw error;
        this.#parsed = null;
      }
    }
    return this.#parsed ?? undefined;
  }
}

const seen = new WeakMap<Socket, PeerCertificate | null>();

/** Read once per connection: the first time Node hands out the chain it also takes it out of the session. */
export function peerCertificateOf(socket: Socket): PeerCertificate | undefined {
  let peer = seen.get(socket);
  if (peer === undefined) {
    const shown = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
    peer = shown === undefined ? null : new PeerCertificate(shown);
    seen.set(socket, peer);
  }
  return peer ?? undefined;
}
