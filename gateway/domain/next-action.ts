import type { GatewayErrorCode } from './gateway-error.ts';

const NEW_TICKET = 'Ask the operator for a new ticket (gatehouse device add).';
const OTHER_CERTIFICATE = 'Enroll again with a new ticket, or ask the operator.';
const NEW_CHALLENGE = 'Ask for a new challenge (tpm-challenge) and certify the key with its secret.';
const TRUST_MAKER =
  'Ask the operator to trust the maker of this TPM (gatehouse tpm root add) or to allow its endorsement key.';
const OUR_SIDE = 'Try again later.';

const NEXT_ACTIONS = {
  BODY_NOT_BASE64: 'Send the base64 of the DER, without the PEM lines.',
  BODY_TOO_LARGE: 'Send the PKCS#10 request only; it is a few KiB.',
  CONTENT_TYPE_UNSUPPORTED: 'Send Content-Type: application/pkcs10, and application/json to tpm-challenge and nonce.',
  CSR_MALFORMED: 'Send one PKCS#10 request (RFC 2986) as base64 of DER.',
  CSR_SIGNATURE_INVALID: 'Sign the request with the private key of the public key inside it.',
  CSR_BINDING_INVALID:
    'Put in the channel binding of the connection that sends the request, or leave challengePassword out.',
  CSR_ASKS_FOR_CA: 'Leave basicConstraints out of the request.',
  CSR_NAMES_ANOTHER: 'Leave the subject empty or name this device.',
  KEY_NOT_ALLOWED: 'Make a key of a kind that the group allows, P-256 for example.',
  REQUEST_INVALID: 'See RFC 7030 and the README of the gateway for what is taken here.',
  CREDENTIALS_MISSING: 'Send device id and ticket by HTTP Basic.',
  TICKET_UNKNOWN: 'Check device id and ticket.',
  TICKET_EXPIRED: NEW_TICKET,
  TICKET_SPENT: NEW_TICKET,
  TICKET_REVOKED: NEW_TICKET,
  TICKET_OF_ANOTHER_DEVICE: 'Use the ticket made for this device id.',
  CERTIFICATE_UNKNOWN: OTHER_CERTIFICATE,
  CERTIFICATE_REVOKED: OTHER_CERTIFICATE,
  CERTIFICATE_SUPERSEDED: 'Use the newer certificate of this device.',
  CERTIFICATE_EXPIRED: OTHER_CERTIFICATE,
  CERTIFICATE_NOT_YET_VALID: 'Compare the clocks of certificate and gateway.',
  PROFILE_NOT_A_DEVICE: 'Show a device certificate.',
  DEVICE_UNKNOWN: 'Ask the operator to add the device (gatehouse device add).',
  DEVICE_NOT_ALLOWED: 'Ask the operator about the state of this device.',
  DEVICE_LOOKS_ALIKE: 'Ask the operator which device this is, and write its name and hardware serial as registered.',
  PROOF_TOO_LOW: 'The group asks for a stronger proof of the key, from a TPM.',
  IDENTITY_MISMATCH: 'Repeat subject and subjectAltName of the current certificate (RFC 7030 4.2.2).',
  CLIENT_ID_MISMATCH: 'Use the name in the certificate.',
  KEEPALIVE_REQUIRED: 'This concerns MQTT only.',
  WILL_NOT_ALLOWED: 'This concerns MQTT only.',
  ATTESTATION_REQUIRED: 'Enroll with a key in the TPM (gatehouse-agent enroll --key tpm).',
  ATTESTATION_MALFORMED: 'Send id-aa-attestation with one TPM2_Certify statement of three fields.',
  ATTESTATION_CHALLENGE_UNKNOWN: NEW_CHALLENGE,
  ATTESTATION_CHALLENGE_USED: NEW_CHALLENGE,
  ATTESTATION_CHALLENGE_EXPIRED: NEW_CHALLENGE,
  ATTESTATION_CHALLENGE_OF_ANOTHER: 'Use the same ticket or certificate for both round trips.',
  TPM_KEY_UNREADABLE: 'Send TPMT_PUBLIC of an RSA or ECC key, without the size of TPM2B_PUBLIC.',
  AK_NOT_CHALLENGED: NEW_CHALLENGE,
  AK_NOT_RESTRICTED:
    'Make the attestation key restricted, fixed to its TPM, signing only (00050472), ECDSA or RSASSA with SHA-256.',
  ATTESTATION_NOT_FROM_TPM: 'Send the TPMS_ATTEST that TPM2_Certify gave.',
  ATTESTATION_OF_ANOTHER_KIND: 'Send what TPM2_Certify gave, no quote and nothing else.',
  ATTESTATION_SIGNATURE_INVALID: 'Certify with the attestation key that was challenged.',
  ATTESTED_KEY_DIFFERS: 'Send the TPMT_PUBLIC of the very key that was certified.',
  ATTESTED_KEY_NOT_BOUND:
    'Make the key in the TPM: fixedTPM, fixedParent, sensitiveDataOrigin, sign, not restricted (00040472).',
  ATTESTED_KEY_WEAK: 'Make an ECC P-256 key, or RSA of 2048 bits or more.',
  ATTESTED_KEY_NOT_OF_CSR: 'Certify the key of this CSR.',
  EK_UNSUPPORTED: 'Show an RSA-2048, P-256 or P-384 endorsement key of the TCG templates.',
  EK_CERTIFICATE_MALFORMED: 'Send the EK certificates as DER, cut to their own length.',
  EK_CERTIFICATE_NOT_FOR_EK: 'Send the certificate of the endorsement key.',
  EK_CERTIFICATE_UNTRUSTED: TRUST_MAKER,
  EK_CERTIFICATE_EXPIRED: TRUST_MAKER,
  EK_MISMATCH: 'Show certificate and public area of one endorsement key.',
  EK_NOT_ALLOWED: 'Ask the operator to allow this endorsement key (gatehouse tpm ek allow).',
  EK_BELONGS_TO_ANOTHER: 'Ask the operator which device this hardware is.',
  EK_CHANGED: 'Ask the operator about the hardware (gatehouse device replace-hardware).',
  APPROVAL_PENDING: 'Wait as Retry-After says and send the same request again; a person has to decide.',
  APPROVAL_REFUSED: 'Ask the operator why (gatehouse enrollment show).',
  APPROVAL_QUEUE_FULL: 'Ask the operator to decide the requests that wait (gatehouse enrollment list).',
  CSR_BINDING_REQUIRED:
    'Put the channel binding of this TLS session into challengePassword (RFC 7030 3.5): tls-exporter for TLS 1.3, tls-unique for 1.2.',
  LABEL_UNKNOWN: 'A label is the name of a group; it may be left out.',
  LABEL_OF_ANOTHER_GROUP: 'Use the label of the group this device is in, or none.',
  CLAIM_ONLY_ENROLLS: 'Enroll with this certificate, then use the one that is issued.',
  MANUFACTURER_UNTRUSTED:
    'Ask the operator to trust the CA of the maker (gatehouse manufacturer add), or use a ticket.',
  MANUFACTURER_CERTIFICATE_UNFIT:
    'Show the device certificate of the maker (IDevID): an end entity that may sign, with a serialNumber.',
  GROUP_AMBIGUOUS: 'Name the group by its label, or ask the operator to register the device.',
  REGISTRAR_NOT_ALLOWED: 'Ask the operator to name this group for the registrar.',
  SERVER_KEYGEN_OFF: 'Make the key on the device and use simpleenroll.',
  NETWORK_NOT_ALLOWED: 'Enroll from a network the group allows, or ask the operator.',
  OUTSIDE_HOURS: 'Come back within the hours of the group.',
  GROUP_FULL: 'Ask the operator to raise the limit of the group or to retire devices.',
  DEVICE_ID_NOT_ALLOWED: 'Ask the operator for a device id that fits the group.',
  OWNER_MISSING: 'Ask the operator to give the device an owner (gatehouse device import).',
  POLICY_WEBHOOK_REFUSED: 'Ask the operator: another system said no to this device.',
  POLICY_WEBHOOK_UNAVAILABLE: OUR_SIDE,
  RATE_LIMITED: 'Wait as Retry-After says, then correct the request.',
  ALREADY_EXISTS: 'Ask the operator.',
  NOT_FOUND:
    'This gateway offers cacerts, csrattrs, simpleenroll, simplereenroll, serverkeygen, tpm-challenge, nonce and renewal-info.',
  STATE_CONFLICT: 'Try again; if it stays, ask the operator.',
  OPERATOR_NOT_AUTHENTICATED: 'This door is for devices.',
  AUTHORITY_UNAVAILABLE: OUR_SIDE,
  STORE_UNAVAILABLE: OUR_SIDE,
  OVERLOADED: OUR_SIDE,
  INTERNAL: 'Give the attempt id to the operator; the reason stands in the log.',
} as const satisfies Record<GatewayErrorCode, string>;

/** What the device, or the person in front of it, can do about a refusal: one sentence, the same at every door. */
export function nextActionFor(code: GatewayErrorCode): string {
  return NEXT_ACTIONS[code];
}
