import type { EstOperation } from '#gateway/contract/est.ts';
import type { SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import type { TpmIdentity } from './key-provider.ts';

export type EnrollmentRequest = {
  operation: Extract<EstOperation, 'simpleenroll' | 'simplereenroll'>;
  /** PKCS#10, DER. */
  csr: Buffer;
  attemptId: string;
  basic?: { user: string; password: string };
};

/** `attemptId` is the gateway's name for the attempt if it gave one, else ours. */
export type EnrollmentAnswer =
  /** In no order; the issued one and, over MQTT, its issuers up to the root. `window`: when it is to be renewed. */
  | { kind: 'issued'; attemptId: string; certificates: Buffer[]; window?: SuggestedWindow }
  /** `news` resolves when the gateway has told, unasked, that something has changed: then it is worth asking at once. */
  | { kind: 'pending'; attemptId: string; retryAfterMs: number; news?: Promise<void> }
  | {
      kind: 'refused';
      attemptId: string;
      /** As HTTP has them, over MQTT too. */
      status: number;
      detail: string;
      /** The gateway's name for the reason, when it gave one. */
      code?: string;
      /** Whether the same request may be granted later; left out: the status tells. */
      transient?: boolean;
      retryAfterMs?: number;
    };

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

/** What a request for a certificate needs of the way to the gateway, EST or MQTT. Fails with AgentError. */
export interface EnrollmentSession {
  /** DER, in no order. Over MQTT none: there the issuers come with the certificate. */
  fetchCaCertificates(signal?: AbortSignal): Promise<Buffer[]>;
  /** Whether the gateway says beforehand that a CSR has to be bound to its connection (RFC 7030 4.5.2). */
  wantsBinding(signal?: AbortSignal): Promise<boolean>;
  /**
   * The channel binding of the connection over which the next `enroll` goes, and which takes no further enrollment
   * (RFC 7030 3.5, RFC 9266 4.1).
   */
  channelBinding(signal?: AbortSignal): Promise<Buffer>;
  enroll(request: EnrollmentRequest, signal?: AbortSignal): Promise<EnrollmentAnswer>;
  requestTpmChallenge(request: TpmChallengeRequest, signal?: AbortSignal): Promise<TpmChallengeAnswer>;
  /** May be called more than once. */
  close(): void;
}
