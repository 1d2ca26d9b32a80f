import type { Directory, EstOperation } from '#gateway/contract/est.ts';
import type { TpmIdentity } from './key-provider.ts';

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

export type EstTarget = { address: { host: string; port: number }; trust: GatewayTrust; identity?: TlsIdentity };

export type EnrollmentRequest = {
  operation: Extract<EstOperation, 'simpleenroll' | 'simplereenroll'>;
  /** PKCS#10, DER. */
  csr: Buffer;
  attemptId: string;
  basic?: { user: string; password: string };
};

/** `attemptId` is the gateway's name for the attempt if it gave one, else ours. */
export type EnrollmentAnswer =
  | { kind: 'issued'; attemptId: string; certificates: Buffer[] }
  | { kind: 'pending'; attemptId: string; retryAfterMs: number }
  | { kind: 'refused'; attemptId: string; status: number; detail: string; retryAfterMs?: number };

export type TpmChallengeRequest = {
  identity: TpmIdentity;
  attemptId: string;
  basic?: { user: string; password: string };
};

/** First round trip of an attested enrollment; see gateway/contract/attestation.ts. */
export type TpmChallengeAnswer =
  | {
      kind: 'challenge';
      attemptId: string;
      /** TPM2B_ID_OBJECT. */
      credentialBlob: Buffer;
      /** TPM2B_ENCRYPTED_SECRET. */
      encryptedSecret: Buffer;
    }
  | (EnrollmentAnswer & { kind: 'refused' });

/** `servedUntil`: notAfter of the certificate the gateway showed in TLS, milliseconds UTC: how far its time is believed. */
type ServedDirectory = Directory & { servedUntil: number };

/** One verified TLS session, opened at the first request and kept for the next. Fails with AgentError. */
export interface EstSession {
  fetchDirectory(signal?: AbortSignal): Promise<ServedDirectory>;
  /** DER, in no order. */
  fetchCaCertificates(signal?: AbortSignal): Promise<Buffer[]>;
  enroll(request: EnrollmentRequest, signal?: AbortSignal): Promise<EnrollmentAnswer>;
  requestTpmChallenge(request: TpmChallengeRequest, signal?: AbortSignal): Promise<TpmChallengeAnswer>;
  close(): void;
}

export interface EstClient {
  /** First contact (RFC 7030 4.1.1): the answer proves nothing until it is compared with the pinned fingerprint. */
  fetchUnverifiedCaCertificates(address: { host: string; port: number }, signal?: AbortSignal): Promise<Buffer[]>;
  openSession(target: EstTarget): EstSession;
}
