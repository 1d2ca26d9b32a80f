import type { TpmChallengeAnswer, TpmChallengeRequest } from './attestation.ts';
import type { SuggestedWindow } from './renewal-info.ts';

/**
 * Enrollment and renewal over MQTT. A device with its own certificate asks on `v1/d/<id>/out/csr` and is answered on
 * `v1/d/<id>/in/certificate`; one that has only a claim, its maker's certificate, or an own one that has expired, uses
 * `v1/enroll/<id>/...`.
 * The same requestId, or the same key, asked again gets the same answer. Unknown fields are ignored.
 * `label`: the group asked for, as in the paths of EST. A device that is in a group is refused in any other one; a device
 * that is not registered says with it which of the groups that trust its maker it wants.
 */
export type CsrMessage =
  /** csr: PKCS#10, DER in base64; with the attestation attribute when the key is in a TPM. */
  | { version: 1; requestId: string; csr: string; label?: string }
  /** First round trip of an attested enrollment, as over HTTPS. */
  | { version: 1; requestId: string; tpmChallenge: TpmChallengeRequest; label?: string };

export type CsrAnswer = {
  version: 1;
  requestId: string;
  /** 200 done, 202 wait for a person and ask again, 4xx refused, 5xx our side: as HTTP has them. */
  status: number;
  /** `ISSUED`, `GIVEN_AGAIN`, `CHALLENGED`, `APPROVAL_PENDING`, or why it was refused. */
  code: string;
  detail: string;
  attemptId: string;
  /** Whether the same request may succeed later. */
  transient: boolean;
  /** Seconds. */
  retryAfter?: number;
  /** DER in base64: the issued one, and the CA certificates from its issuer to the root. */
  certificate?: string;
  chain?: string[];
  /** When it is to be renewed; left out when it was given before: ask for it, see renewal-info.ts. */
  suggestedWindow?: SuggestedWindow;
  tpmChallenge?: TpmChallengeAnswer;
};

/** Printable, so that it can stand in a log. */
export const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;
