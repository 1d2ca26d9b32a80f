import type { GatewayErrorCode } from '#gateway/domain/gateway-error.ts';

/** What the device, or the person in front of it, is told. */
export type EstRefusal = {
  status: 400 | 401 | 403 | 404 | 409 | 413 | 415 | 429 | 500 | 503;
  /** What to do next, one sentence. */
  advice: string;
  /** Set where the error's own words stay inside: the outside hears only this. */
  says?: string;
  /** Seconds, where the error itself names none. */
  retryAfter?: number;
};

const NEW_TICKET = 'Ask the operator for a new ticket (gatehouse device add).';
const OTHER_CERTIFICATE = 'Enroll again with a new ticket, or ask the operator.';
const NEW_CHALLENGE = 'Ask for a new challenge (tpm-challenge) and certify the key with its secret.';
const TRUST_MAKER =
  'Ask the operator to trust the maker of this TPM (gatehouse tpm root add) or to allow its endorsement key.';
const OUR_SIDE = 'Try again later.';

/** RFC 7030 4.2.3, RFC 8951 5: refusals are 4xx with readable text; 5xx only when it is our fault. */
export const EST_REFUSALS = {
  BODY_NOT_BASE64: { status: 400, advice: 'Send the base64 of the DER, without the PEM lines.' },
  BODY_TOO_LARGE: { status: 413, advice: 'Send the PKCS#10 request only; it is a few KiB.' },
  CONTENT_TYPE_UNSUPPORTED: { status: 415, advice: 'Send Content-Type: application/pkcs10.' },
  CSR_MALFORMED: { status: 400, advice: 'Send one PKCS#10 request (RFC 2986) as base64 of DER.' },
  CSR_SIGNATURE_INVALID: { status: 400, advice: 'Sign the request with the private key of the public key inside it.' },
  CSR_BINDING_INVALID: {
    status: 400,
    advice: 'Put in the channel binding of the connection that sends the request, or leave challengePassword out.',
  },
  CSR_ASKS_FOR_CA: { status: 400, advice: 'Leave basicConstraints out of the request.' },
  CSR_NAMES_ANOTHER: { status: 403, advice: 'Leave the subject empty or name this device.' },
  KEY_NOT_ALLOWED: { status: 400, advice: 'Make a key of a kind that the group allows, P-256 for example.' },
  REQUEST_INVALID: { status: 400, advice: 'See RFC 7030 for what this path takes.' },
  CREDENTIALS_MISSING: { status: 401, advice: 'Send device id and ticket by HTTP Basic.' },
  TICKET_UNKNOWN: { status: 401, advice: 'Check device id and ticket.' },
  TICKET_EXPIRED: { status: 403, advice: NEW_TICKET },
  TICKET_SPENT: { status: 403, advice: NEW_TICKET },
  TICKET_REVOKED: { status: 403, advice: NEW_TICKET },
  TICKET_OF_ANOTHER_DEVICE: { status: 403, advice: 'Use the ticket made for this device id.' },
  CERTIFICATE_UNKNOWN: { status: 403, advice: OTHER_CERTIFICATE },
  CERTIFICATE_REVOKED: { status: 403, advice: OTHER_CERTIFICATE },
  CERTIFICATE_SUPERSEDED: { status: 403, advice: 'Use the newer certificate of this device.' },
  CERTIFICATE_EXPIRED: { status: 403, advice: OTHER_CERTIFICATE },
  CERTIFICATE_NOT_YET_VALID: { status: 403, advice: 'Compare the clocks of certificate and gateway.' },
  PROFILE_NOT_A_DEVICE: { status: 403, advice: 'Show a device certificate.' },
  DEVICE_UNKNOWN: { status: 403, advice: 'Ask the operator to add the device (gatehouse device add).' },
  DEVICE_NOT_ALLOWED: { status: 403, advice: 'Ask the operator about the state of this device.' },
  PROOF_TOO_LOW: { status: 403, advice: 'The group asks for a stronger proof of the key, from a TPM.' },
  IDENTITY_MISMATCH: {
    status: 403,
    advice: 'Repeat subject and subjectAltName of the current certificate (RFC 7030 4.2.2).',
  },
  CLIENT_ID_MISMATCH: { status: 403, advice: 'Use the name in the certificate.' },
  KEEPALIVE_REQUIRED: { status: 400, advice: 'This concerns MQTT only.' },
  WILL_NOT_ALLOWED: { status: 400, advice: 'This concerns MQTT only.' },
  ATTESTATION_REQUIRED: { status: 403, advice: 'Enroll with a key in the TPM (gatehouse-agent enroll --key tpm).' },
  ATTESTATION_MALFORMED: {
    status: 400,
    advice: 'Send id-aa-attestation with one TPM2_Certify statement of three fields.',
  },
  ATTESTATION_CHALLENGE_UNKNOWN: { status: 403, advice: NEW_CHALLENGE },
  ATTESTATION_CHALLENGE_USED: { status: 403, advice: NEW_CHALLENGE },
  ATTESTATION_CHALLENGE_EXPIRED: { status: 403, advice: NEW_CHALLENGE },
  ATTESTATION_CHALLENGE_OF_ANOTHER: { status: 403, advice: 'Use the same ticket or certificate for both round trips.' },
  TPM_KEY_UNREADABLE: {
    status: 400,
    advice: 'Send TPMT_PUBLIC of an RSA or ECC key, without the size of TPM2B_PUBLIC.',
  },
  AK_NOT_CHALLENGED: { status: 403, advice: NEW_CHALLENGE },
  AK_NOT_RESTRICTED: {
    status: 403,
    advice:
      'Make the attestation key restricted, fixed to its TPM, signing only (00050472), ECDSA or RSASSA with SHA-256.',
  },
  ATTESTATION_NOT_FROM_TPM: { status: 403, advice: 'Send the TPMS_ATTEST that TPM2_Certify gave.' },
  ATTESTATION_OF_ANOTHER_KIND: { status: 403, advice: 'Send what TPM2_Certify gave, no quote and nothing else.' },
  ATTESTATION_SIGNATURE_INVALID: { status: 403, advice: 'Certify with the attestation key that was challenged.' },
  ATTESTED_KEY_DIFFERS: { status: 403, advice: 'Send the TPMT_PUBLIC of the very key that was certified.' },
  ATTESTED_KEY_NOT_BOUND: {
    status: 403,
    advice: 'Make the key in the TPM: fixedTPM, fixedParent, sensitiveDataOrigin, sign, not restricted (00040472).',
  },
  ATTESTED_KEY_WEAK: { status: 403, advice: 'Make an ECC P-256 key, or RSA of 2048 bits or more.' },
  ATTESTED_KEY_NOT_OF_CSR: { status: 403, advice: 'Certify the key of this CSR.' },
  EK_UNSUPPORTED: { status: 400, advice: 'Show an RSA-2048, P-256 or P-384 endorsement key of the TCG templates.' },
  EK_CERTIFICATE_MALFORMED: { status: 400, advice: 'Send the EK certificates as DER, cut to their own length.' },
  EK_CERTIFICATE_NOT_FOR_EK: { status: 403, advice: 'Send the certificate of the endorsement key.' },
  EK_CERTIFICATE_UNTRUSTED: { status: 403, advice: TRUST_MAKER },
  EK_CERTIFICATE_EXPIRED: { status: 403, advice: TRUST_MAKER },
  EK_MISMATCH: { status: 400, advice: 'Show certificate and public area of one endorsement key.' },
  EK_NOT_ALLOWED: { status: 403, advice: 'Ask the operator to allow this endorsement key (gatehouse tpm ek allow).' },
  EK_BELONGS_TO_ANOTHER: { status: 409, advice: 'Ask the operator which device this hardware is.' },
  EK_CHANGED: { status: 409, advice: 'Ask the operator about the hardware (gatehouse device replace-hardware).' },
  RATE_LIMITED: { status: 429, advice: 'Wait as Retry-After says, then correct the request.', retryAfter: 30 },
  ALREADY_EXISTS: { status: 409, advice: 'Ask the operator.' },
  NOT_FOUND: {
    status: 404,
    advice: 'This gateway offers cacerts, csrattrs, simpleenroll, simplereenroll, tpm-challenge and nonce.',
  },
  STATE_CONFLICT: { status: 409, advice: 'Try again; if it stays, ask the operator.' },
  OPERATOR_NOT_AUTHENTICATED: { status: 403, advice: 'This door is for devices.' },
  AUTHORITY_UNAVAILABLE: {
    status: 503,
    says: 'the certificate authority does not answer',
    advice: OUR_SIDE,
    retryAfter: 10,
  },
  STORE_UNAVAILABLE: {
    status: 503,
    says: 'the database cannot be written',
    advice: OUR_SIDE,
    retryAfter: 10,
  },
  OVERLOADED: {
    status: 503,
    says: 'the gateway has more requests than it can serve now',
    advice: OUR_SIDE,
    retryAfter: 2,
  },
  INTERNAL: {
    status: 500,
    says: 'the gateway could not do this',
    advice: 'Give the attempt id to the operator; the reason stands in the log.',
  },
} as const satisfies Record<GatewayErrorCode, EstRefusal>;
