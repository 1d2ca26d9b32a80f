import type { CertificateRefusal } from './certificate-record.ts';

/** Why a request was not granted. Codes are for programs, messages for people who run the gateway. */
export type GatewayErrorCode =
  // the request itself
  | 'BODY_NOT_BASE64'
  | 'BODY_TOO_LARGE'
  | 'CONTENT_TYPE_UNSUPPORTED'
  | 'CSR_MALFORMED'
  | 'CSR_SIGNATURE_INVALID'
  | 'CSR_BINDING_INVALID'
  | 'CSR_ASKS_FOR_CA'
  | 'CSR_NAMES_ANOTHER'
  | 'KEY_NOT_ALLOWED'
  | 'REQUEST_INVALID'
  // who asks
  | 'CREDENTIALS_MISSING'
  | 'TICKET_UNKNOWN'
  | 'TICKET_EXPIRED'
  | 'TICKET_SPENT'
  | 'TICKET_REVOKED'
  | 'TICKET_OF_ANOTHER_DEVICE'
  | CertificateRefusal
  | 'DEVICE_UNKNOWN'
  | 'DEVICE_NOT_ALLOWED'
  | 'DEVICE_LOOKS_ALIKE'
  | 'PROOF_TOO_LOW'
  | 'IDENTITY_MISMATCH'
  | 'CLIENT_ID_MISMATCH'
  | 'KEEPALIVE_REQUIRED'
  | 'WILL_NOT_ALLOWED'
  | 'RATE_LIMITED'
  // a first enrollment that needs more than its credentials
  | 'APPROVAL_PENDING'
  | 'APPROVAL_REFUSED'
  | 'APPROVAL_QUEUE_FULL'
  | 'CSR_BINDING_REQUIRED'
  | 'LABEL_UNKNOWN'
  | 'LABEL_OF_ANOTHER_GROUP'
  | 'CLAIM_ONLY_ENROLLS'
  | 'MANUFACTURER_UNTRUSTED'
  | 'MANUFACTURER_CERTIFICATE_UNFIT'
  | 'GROUP_AMBIGUOUS'
  | 'REGISTRAR_NOT_ALLOWED'
  | 'SERVER_KEYGEN_OFF'
  // what the policy of its group says
  | 'NETWORK_NOT_ALLOWED'
  | 'OUTSIDE_HOURS'
  | 'GROUP_FULL'
  | 'DEVICE_ID_NOT_ALLOWED'
  | 'OWNER_MISSING'
  | 'POLICY_WEBHOOK_REFUSED'
  | 'POLICY_WEBHOOK_UNAVAILABLE'
  // a key in a TPM: what is missing or wrong in its proof
  | 'ATTESTATION_REQUIRED'
  | 'ATTESTATION_MALFORMED'
  | 'ATTESTATION_CHALLENGE_UNKNOWN'
  | 'ATTESTATION_CHALLENGE_USED'
  | 'ATTESTATION_CHALLENGE_EXPIRED'
  | 'ATTESTATION_CHALLENGE_OF_ANOTHER'
  | 'TPM_KEY_UNREADABLE'
  | 'AK_NOT_CHALLENGED'
  | 'AK_NOT_RESTRICTED'
  | 'ATTESTATION_NOT_FROM_TPM'
  | 'ATTESTATION_OF_ANOTHER_KIND'
  | 'ATTESTATION_SIGNATURE_INVALID'
  | 'ATTESTED_KEY_DIFFERS'
  | 'ATTESTED_KEY_NOT_BOUND'
  | 'ATTESTED_KEY_WEAK'
  | 'ATTESTED_KEY_NOT_OF_CSR'
  // its endorsement key
  | 'EK_UNSUPPORTED'
  | 'EK_CERTIFICATE_MALFORMED'
  | 'EK_CERTIFICATE_NOT_FOR_EK'
  | 'EK_CERTIFICATE_UNTRUSTED'
  | 'EK_CERTIFICATE_EXPIRED'
  | 'EK_MISMATCH'
  | 'EK_NOT_ALLOWED'
  | 'EK_BELONGS_TO_ANOTHER'
  | 'EK_CHANGED'
  // what an operator asks
  | 'ALREADY_EXISTS'
  | 'NOT_FOUND'
  | 'STATE_CONFLICT'
  | 'OPERATOR_NOT_AUTHENTICATED'
  // our side
  | 'AUTHORITY_UNAVAILABLE'
  | 'STORE_UNAVAILABLE'
  | 'OVERLOADED'
  | 'INTERNAL';

export type RefusalSubject = { deviceId?: string; serial?: string };

export class GatewayError extends Error {
  readonly code: GatewayErrorCode;
  /** Seconds after which asking again makes sense. */
  readonly retryAfter: number | undefined;
  /** Whom it concerns, when that is known: for the log and the audit, not for the answer. */
  readonly subject: RefusalSubject;
  constructor(
    code: GatewayErrorCode,
    message: string,
    options: ErrorOptions & { retryAfter?: number; subject?: RefusalSubject } = {},
  ) {
    super(message, options);
    this.name = 'GatewayError';
    this.code = code;
    this.retryAfter = options.retryAfter;
    this.subject = options.subject ?? {};
  }
}
