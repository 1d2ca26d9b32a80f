import { constants } from 'node:crypto';
import type { TlsOptions } from 'node:tls';
import type { MqttLimits } from './mqtt-limits.ts';

/** PEM texts. */
export type DoorTls = {
  /** The gateway's certificate, then its issuing intermediate. */
  certificateChain: string;
  privateKey: string;
  /** Root and intermediate: with the intermediate among them a device may send its certificate alone. */
  trustAnchors: string[];
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
 * The one place that says how this door speaks TLS, for the start and for every reload: what is left out of a
 * setSecureContext call falls back to Node's defaults.
 */
export function tlsOptions(tls: DoorTls, limits: Pick<MqttLimits, 'handshakeTimeoutMs'>): TlsOptions {
  return {
    cert: tls.certificateChain,
    key: tls.privateKey,
    // The root has to be here (Node has no partial chains on a server), so any intermediate below it passes TLS:
    // admitSession compares the whole certificate with our own table.
    ca: tls.trustAnchors,
    minVersion: tls.minVersion ?? 'TLSv1.2',
    ciphers: CIPHERS,
    requestCert: true,
    rejectUnauthorized: true,
    // A client without ALPN is let in; one that asks for something else is refused (RFC 7301 3.2).
    ALPNProtocols: ['mqtt'],
    // A resumed session skips the chain and the dates, and making tickets costs a third of a handshake.
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: limits.handshakeTimeoutMs,
  };
}
