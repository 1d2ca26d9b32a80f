import { Tpm2Error, type Tpm2ErrorCode } from '#ca/tpm2/tpm-error.ts';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';

/** Each way in which a proof from a TPM can be wrong, in the gateway's words. */
const REFUSALS = {
  PUBLIC_AREA_MALFORMED: 'TPM_KEY_UNREADABLE',
  PUBLIC_AREA_UNSUPPORTED: 'TPM_KEY_UNREADABLE',
  KEY_UNUSABLE: 'TPM_KEY_UNREADABLE',
  EK_UNSUPPORTED: 'EK_UNSUPPORTED',
  AK_NAME_MISMATCH: 'AK_NOT_CHALLENGED',
  AK_ATTRIBUTES: 'AK_NOT_RESTRICTED',
  AK_ALGORITHM: 'AK_NOT_RESTRICTED',
  ATTEST_MAGIC: 'ATTESTATION_NOT_FROM_TPM',
  ATTEST_TYPE: 'ATTESTATION_OF_ANOTHER_KIND',
  ATTEST_MALFORMED: 'ATTESTATION_MALFORMED',
  SIGNATURE_MALFORMED: 'ATTESTATION_SIGNATURE_INVALID',
  SIGNATURE_INVALID: 'ATTESTATION_SIGNATURE_INVALID',
  QUALIFYING_DATA_MISMATCH: 'ATTESTATION_CHALLENGE_UNKNOWN',
  ATTESTED_NAME_MISMATCH: 'ATTESTED_KEY_DIFFERS',
  KEY_ATTRIBUTES: 'ATTESTED_KEY_NOT_BOUND',
  KEY_ALGORITHM: 'ATTESTED_KEY_WEAK',
  CSR_KEY_MISMATCH: 'ATTESTED_KEY_NOT_OF_CSR',
  // Of the device's own machine; a gateway has no TPM to talk to.
  RESPONSE_MALFORMED: 'INTERNAL',
  RESPONSE_REFUSED: 'INTERNAL',
} as const satisfies Record<Tpm2ErrorCode, GatewayErrorCode>;

/** @throws GatewayError for every Tpm2Error of the work; whatever else it throws stays as it is. */
export function refuseTpmErrors<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof Tpm2Error) throw new GatewayError(REFUSALS[cause.code], cause.message, { cause });
    throw cause;
  }
}
