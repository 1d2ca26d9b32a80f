import { STATUS_CODES } from 'node:http';
import type { Problem } from '#gateway/contract/operator-api.ts';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { StoreError } from '#gateway/ports/store.ts';

/** Most of these are a device's errors and can reach an operator only by a mistake of ours; each is answered anyway. */
const OPERATOR_STATUS = {
  BODY_NOT_BASE64: 400,
  BODY_TOO_LARGE: 413,
  CONTENT_TYPE_UNSUPPORTED: 415,
  CSR_MALFORMED: 400,
  CSR_SIGNATURE_INVALID: 400,
  CSR_BINDING_INVALID: 400,
  CSR_ASKS_FOR_CA: 400,
  CSR_NAMES_ANOTHER: 400,
  KEY_NOT_ALLOWED: 400,
  REQUEST_INVALID: 400,
  CREDENTIALS_MISSING: 401,
  TICKET_UNKNOWN: 404,
  TICKET_EXPIRED: 409,
  TICKET_SPENT: 409,
  TICKET_REVOKED: 409,
  TICKET_OF_ANOTHER_DEVICE: 409,
  CERTIFICATE_UNKNOWN: 404,
  CERTIFICATE_REVOKED: 409,
  CERTIFICATE_SUPERSEDED: 409,
  CERTIFICATE_EXPIRED: 409,
  CERTIFICATE_NOT_YET_VALID: 409,
  PROFILE_NOT_A_DEVICE: 409,
  DEVICE_UNKNOWN: 404,
  DEVICE_NOT_ALLOWED: 409,
  DEVICE_LOOKS_ALIKE: 409,
  PROOF_TOO_LOW: 409,
  IDENTITY_MISMATCH: 409,
  CLIENT_ID_MISMATCH: 409,
  KEEPALIVE_REQUIRED: 400,
  WILL_NOT_ALLOWED: 400,
  ATTESTATION_REQUIRED: 409,
  ATTESTATION_MALFORMED: 400,
  ATTESTATION_CHALLENGE_UNKNOWN: 409,
  ATTESTATION_CHALLENGE_USED: 409,
  ATTESTATION_CHALLENGE_EXPIRED: 409,
  ATTESTATION_CHALLENGE_OF_ANOTHER: 409,
  TPM_KEY_UNREADABLE: 400,
  AK_NOT_CHALLENGED: 409,
  AK_NOT_RESTRICTED: 409,
  ATTESTATION_NOT_FROM_TPM: 409,
  ATTESTATION_OF_ANOTHER_KIND: 409,
  ATTESTATION_SIGNATURE_INVALID: 409,
  ATTESTED_KEY_DIFFERS: 409,
  ATTESTED_KEY_NOT_BOUND: 409,
  ATTESTED_KEY_WEAK: 409,
  ATTESTED_KEY_NOT_OF_CSR: 409,
  EK_UNSUPPORTED: 400,
  EK_CERTIFICATE_MALFORMED: 400,
  EK_CERTIFICATE_NOT_FOR_EK: 400,
  EK_CERTIFICATE_UNTRUSTED: 409,
  EK_CERTIFICATE_EXPIRED: 409,
  EK_MISMATCH: 400,
  EK_NOT_ALLOWED: 409,
  EK_BELONGS_TO_ANOTHER: 409,
  EK_CHANGED: 409,
  APPROVAL_PENDING: 409,
  APPROVAL_REFUSED: 409,
  APPROVAL_QUEUE_FULL: 503,
  CSR_BINDING_REQUIRED: 409,
  LABEL_UNKNOWN: 404,
  LABEL_OF_ANOTHER_GROUP: 409,
  CLAIM_ONLY_ENROLLS: 409,
  MANUFACTURER_UNTRUSTED: 409,
  MANUFACTURER_CERTIFICATE_UNFIT: 409,
  GROUP_AMBIGUOUS: 409,
  REGISTRAR_NOT_ALLOWED: 409,
  SERVER_KEYGEN_OFF: 409,
  NETWORK_NOT_ALLOWED: 409,
  OUTSIDE_HOURS: 409,
  GROUP_FULL: 409,
  DEVICE_ID_NOT_ALLOWED: 409,
  OWNER_MISSING: 409,
  POLICY_WEBHOOK_REFUSED: 409,
  POLICY_WEBHOOK_UNAVAILABLE: 503,
  RATE_LIMITED: 429,
  ALREADY_EXISTS: 409,
  NOT_FOUND: 404,
  STATE_CONFLICT: 409,
  OPERATOR_NOT_AUTHENTICATED: 401,
  AUTHORITY_UNAVAILABLE: 503,
  STORE_UNAVAILABLE: 503,
  OVERLOADED: 503,
  INTERNAL: 500,
} as const satisfies Record<GatewayErrorCode, number>;

const FROM_FRAMEWORK = new Map<string, [GatewayErrorCode, string]>([
  ['FST_ERR_CTP_BODY_TOO_LARGE', ['BODY_TOO_LARGE', 'the body is too large']],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', ['CONTENT_TYPE_UNSUPPORTED', 'send application/json']],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', ['REQUEST_INVALID', 'the body is not as long as Content-Length says']],
  ['FST_ERR_BAD_URL', ['REQUEST_INVALID', 'the path is not a valid URL']],
  ['FST_ERR_MAX_PARAM_LENGTH', ['NOT_FOUND', 'nothing has a name as long as the one in the path']],
]);

/** Every error as one of ours; what nobody foresaw is INTERNAL, with the reason as its cause. */
export function asOperatorError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof StoreError && error.code === 'UNAVAILABLE') {
    return new GatewayError('STORE_UNAVAILABLE', 'the database cannot be written: check disk space and permissions', {
      cause: error,
    });
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const [ours, message] = FROM_FRAMEWORK.get(code) ?? ['INTERNAL', 'unexpected error: see the log of the gateway'];
  return new GatewayError(ours, message, { cause: error });
}

/** RFC 9457. */
export function problemOf({ code, message }: GatewayError): Problem {
  const status = OPERATOR_STATUS[code];
  return { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, code, detail: message };
}
