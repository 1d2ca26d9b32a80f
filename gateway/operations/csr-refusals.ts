import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { nextActionFor } from '#gateway/domain/next-action.ts';

type CsrRefusal = {
  /** As HTTP has them: at every door, so that a device needs one rule for all. */
  status: 202 | 400 | 401 | 403 | 404 | 409 | 413 | 415 | 429 | 500 | 503;
  /** Set where the error's own words stay inside: the outside hears only this. */
  says?: string;
  /** Seconds, where the error itself names none. */
  retryAfter?: number;
};

/** RFC 7030 4.2.3, RFC 8951 5: refusals are 4xx with readable text; 5xx only when it is our fault. */
const CSR_REFUSALS = {
  BODY_NOT_BASE64: { status: 400 },
  BODY_TOO_LARGE: { status: 413 },
  CONTENT_TYPE_UNSUPPORTED: { status: 415 },
  CSR_MALFORMED: { status: 400 },
  CSR_SIGNATURE_INVALID: { status: 400 },
  CSR_BINDING_INVALID: { status: 400 },
  CSR_ASKS_FOR_CA: { status: 400 },
  CSR_NAMES_ANOTHER: { status: 403 },
  KEY_NOT_ALLOWED: { status: 400 },
  REQUEST_INVALID: { status: 400 },
  CREDENTIALS_MISSING: { status: 401 },
  TICKET_UNKNOWN: { status: 401 },
  TICKET_EXPIRED: { status: 403 },
  TICKET_SPENT: { status: 403 },
  TICKET_REVOKED: { status: 403 },
  TICKET_OF_ANOTHER_DEVICE: { status: 403 },
  CERTIFICATE_UNKNOWN: { status: 403 },
  CERTIFICATE_REVOKED: { status: 403 },
  CERTIFICATE_SUPERSEDED: { status: 403 },
  CERTIFICATE_EXPIRED: { status: 403 },
  CERTIFICATE_NOT_YET_VALID: { status: 403 },
  PROFILE_NOT_A_DEVICE: { status: 403 },
  DEVICE_UNKNOWN: { status: 403 },
  DEVICE_NOT_ALLOWED: { status: 403 },
  DEVICE_LOOKS_ALIKE: {
    status: 403,
    says: 'a registered device has a name or hardware serial that looks like this one',
  },
  PROOF_TOO_LOW: { status: 403 },
  IDENTITY_MISMATCH: { status: 403 },
  CLIENT_ID_MISMATCH: { status: 403 },
  KEEPALIVE_REQUIRED: { status: 400 },
  WILL_NOT_ALLOWED: { status: 400 },
  ATTESTATION_REQUIRED: { status: 403 },
  ATTESTATION_MALFORMED: { status: 400 },
  ATTESTATION_CHALLENGE_UNKNOWN: { status: 403 },
  ATTESTATION_CHALLENGE_USED: { status: 403 },
  ATTESTATION_CHALLENGE_EXPIRED: { status: 403 },
  ATTESTATION_CHALLENGE_OF_ANOTHER: { status: 403 },
  TPM_KEY_UNREADABLE: { status: 400 },
  AK_NOT_CHALLENGED: { status: 403 },
  AK_NOT_RESTRICTED: { status: 403 },
  ATTESTATION_NOT_FROM_TPM: { status: 403 },
  ATTESTATION_OF_ANOTHER_KIND: { status: 403 },
  ATTESTATION_SIGNATURE_INVALID: { status: 403 },
  ATTESTED_KEY_DIFFERS: { status: 403 },
  ATTESTED_KEY_NOT_BOUND: { status: 403 },
  ATTESTED_KEY_WEAK: { status: 403 },
  ATTESTED_KEY_NOT_OF_CSR: { status: 403 },
  EK_UNSUPPORTED: { status: 400 },
  EK_CERTIFICATE_MALFORMED: { status: 400 },
  EK_CERTIFICATE_NOT_FOR_EK: { status: 403 },
  EK_CERTIFICATE_UNTRUSTED: { status: 403 },
  EK_CERTIFICATE_EXPIRED: { status: 403 },
  EK_MISMATCH: { status: 400 },
  EK_NOT_ALLOWED: { status: 403 },
  EK_BELONGS_TO_ANOTHER: { status: 409, says: 'the endorsement key of this TPM belongs to another device' },
  EK_CHANGED: { status: 409 },
  APPROVAL_PENDING: { status: 202, retryAfter: 30 },
  APPROVAL_REFUSED: { status: 403 },
  APPROVAL_QUEUE_FULL: { status: 503, retryAfter: 300 },
  CSR_BINDING_REQUIRED: { status: 403 },
  LABEL_UNKNOWN: { status: 404 },
  LABEL_OF_ANOTHER_GROUP: { status: 403 },
  CLAIM_ONLY_ENROLLS: { status: 403 },
  MANUFACTURER_UNTRUSTED: { status: 403 },
  MANUFACTURER_CERTIFICATE_UNFIT: { status: 403 },
  GROUP_AMBIGUOUS: { status: 403 },
  REGISTRAR_NOT_ALLOWED: { status: 403 },
  SERVER_KEYGEN_OFF: { status: 404 },
  NETWORK_NOT_ALLOWED: { status: 403 },
  OUTSIDE_HOURS: { status: 403, retryAfter: 900 },
  GROUP_FULL: { status: 403 },
  DEVICE_ID_NOT_ALLOWED: { status: 403 },
  OWNER_MISSING: { status: 403 },
  POLICY_WEBHOOK_REFUSED: { status: 403 },
  POLICY_WEBHOOK_UNAVAILABLE: { status: 503, says: 'a system that has to be asked does not answer', retryAfter: 60 },
  RATE_LIMITED: { status: 429, retryAfter: 30 },
  ALREADY_EXISTS: { status: 409 },
  NOT_FOUND: { status: 404 },
  STATE_CONFLICT: { status: 409 },
  OPERATOR_NOT_AUTHENTICATED: { status: 403 },
  AUTHORITY_UNAVAILABLE: { status: 503, says: 'the certificate authority does not answer', retryAfter: 10 },
  STORE_UNAVAILABLE: { status: 503, says: 'the database cannot be written', retryAfter: 10 },
  OVERLOADED: { status: 503, says: 'the gateway has more requests than it can serve now', retryAfter: 2 },
  INTERNAL: { status: 500, says: 'the gateway could not do this' },
} as const satisfies Record<GatewayErrorCode, CsrRefusal>;

/**
 * How a refusal is told to the device that sent the CSR. `transient`: the same request may succeed later.
 * `retryAfter`: seconds, whole, 1 or more.
 */
export type ToldRefusal = {
  status: CsrRefusal['status'];
  code: GatewayErrorCode;
  detail: string;
  transient: boolean;
  retryAfter?: number;
};

/** Of errors on our side nothing but the code gets out. @param error anything thrown on the way to a certificate */
export function tellRefusal(error: unknown): ToldRefusal {
  const code = error instanceof GatewayError ? error.code : 'INTERNAL';
  const refusal: CsrRefusal = CSR_REFUSALS[code];
  const { status } = refusal;
  const retryAfter = (error instanceof GatewayError ? error.retryAfter : undefined) ?? refusal.retryAfter;
  const detail = `${sentence(refusal.says ?? (error as Error).message)} ${nextActionFor(code)}`;
  const transient = status >= 500 || status === 429 || status === 202 || retryAfter !== undefined;
  return {
    status,
    code,
    detail,
    transient,
    ...(retryAfter === undefined ? {} : { retryAfter: Math.max(1, Math.ceil(retryAfter)) }),
  };
}

/** One line of a bounded length, whatever a request put into the message. */
function sentence(text: string): string {
  const line = text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 300);
  return /[.!?]$/.test(line) ? line : `${line}.`;
}
