import { constants } from 'node:crypto';
import type { TlsOptions } from 'node:tls';
import type { MqttLimits } from './mqtt-limits.ts';

/** PEM texts. */
export type DoorTls = {
  /** The gateway's certificate, then its issuing intermediate. */
  certificateChain: string;
  privateKey: string;
  /** The CAs that issue device certificates and nothing above them: whatever else the root certifies is refused. */
  issuers: string[];
  /**
   * CAs of makers that some group trusts. What they certify gets through TLS and no further: it is then judged like any
   * stranger, may only enroll, and is never taken for a device of ours.
   */
  manufacturers: string[];
  /** TLS 1.2 by default: clients on long-lived devices know nothing newer. */
  minVersion?: 'TLSv1.2' | 'TLSv1.3';
};

/** Of TLS 1.2 only key exchanges with forward secrecy and authenticated ciphers (RFC 9325 4.2). */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/**
 * The one place that says how this door speaks TLS, for the start and for every reload, which changes nothing
 * but certificates.
 */
export function tlsOptions(
  tls: DoorTls,
  limits: Pick<MqttLimits, 'handshakeTimeoutMs'>,
): TlsOptions & { allowPartialTrustChain: true } {
  return {
    cert: tls.certificateChain,
    key: tls.privateKey,
    // Trusted by themselves (see partial-chain.ts). So OpenSSL does not verify the root's signature, a third of a
    // handshake, a device may send its certificate alone, and another intermediate of the same root does not pass.
    // The same for makers: an intermediate may be trusted without what stands above and beside it.
    ca: [...tls.issuers, ...tls.manufacturers],
    allowPartialTrustChain: true,
    minVersion: tls.minVersion ?? 'TLSv1.2',
    ciphers: CIPHERS,
    // A server has these two by default, a context on its own has not.
    honorCipherOrder: true,
    sessionIdContext: 'gatehouse mqtt',
    requestCert: true,
    // Node would refuse a certificate of ours that has ended like any other, and that one may open the expired lane. So
    // the door refuses by itself: judge-peer.ts, and who shows no certificate, demand-certificate.ts.
    rejectUnauthorized: false,
    // A client without ALPN is let in; one that asks for something else is refused (RFC 7301 3.2).
    ALPNProtocols: ['mqtt'],
    // A resumed session skips the chain and the dates, and making tickets costs a third of a handshake. Without
    // renegotiation the certificate of a connection does not change under way.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    handshakeTimeout: limits.handshakeTimeoutMs,
  };
}
