export type TpmRefusalCode =
  /** TPM_RC_SIZE, TPM_RC_INSUFFICIENT: the parameters are no such structures. */
  | 'SIZE'
  /** The secret was not encrypted for this endorsement key. */
  | 'VALUE'
  /** TPM_RC_INTEGRITY: another endorsement key, or another Name than that of the attestation key. */
  | 'INTEGRITY'
  /** TPM_RC_HANDLE: no object of this TPM. */
  | 'HANDLE';

/** What a TPM says instead of doing what it was asked. */
export class TpmRefusal extends Error {
  readonly code: TpmRefusalCode;
  constructor(code: TpmRefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TpmRefusal';
    this.code = code;
  }
}
