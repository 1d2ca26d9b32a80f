import type { Directory } from '#gateway/contract/est.ts';
import type { CertificateName, SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import type { EnrollmentSession } from './enrollment-session.ts';

/** What to trust while talking to the gateway. */
export type GatewayTrust = {
  /** DER. */
  anchors: Buffer[];
  /**
   * Milliseconds UTC below which no certificate may have ended, when the wall clock is known to be wrong: the chain
   * and the host name are still verified, validity dates only against this (RFC 8995 2.6.1). Absent: the wall clock counts.
   */
  floor?: number;
};

/** What the device shows in TLS. PEM. */
export type TlsIdentity = { key: string; certificates: string };

export type EstTarget = {
  address: { host: string; port: number };
  trust: GatewayTrust;
  identity?: TlsIdentity;
  /** RFC 7030 3.2.2: `/.well-known/est/<label>/...`; a label is a group of the gateway. */
  label?: string;
};

/** `servedUntil`: notAfter of the certificate the gateway showed in TLS, milliseconds UTC: how far its time is believed. */
export type ServedDirectory = Directory & { servedUntil: number };

/** One verified TLS session, opened at the first request and kept for the next. */
export interface EstSession extends EnrollmentSession {
  /** nonce: asks for signed time with it. */
  fetchDirectory(signal?: AbortSignal, nonce?: string): Promise<ServedDirectory>;
  /** RFC 9773 4.2, without credentials. `window` is undefined when the gateway has no advice about this certificate. */
  fetchRenewalInfo(
    name: CertificateName,
    signal?: AbortSignal,
  ): Promise<{ window: SuggestedWindow | undefined; retryAfterMs: number }>;
}

export interface EstClient {
  /** First contact (RFC 7030 4.1.1): the answer proves nothing until it is compared with the pinned fingerprint. */
  fetchUnverifiedCaCertificates(address: { host: string; port: number }, signal?: AbortSignal): Promise<Buffer[]>;
  openSession(target: EstTarget): EstSession;
}
