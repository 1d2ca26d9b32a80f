export type Tpm2ErrorCode =
  /** Bytes that are no TPMT_PUBLIC, or one that no TPM would make. */
  | 'PUBLIC_AREA_MALFORMED'
  /** A public area of an object type, algorithm, curve or scheme that is not handled here. */
  | 'PUBLIC_AREA_UNSUPPORTED'
  /** The point is not on its curve, or OpenSSL will not have the key. */
  | 'KEY_UNUSABLE'
  /** No credential can be made for this endorsement key: another kind than RSA-2048, P-256 and P-384. */
  | 'EK_UNSUPPORTED'
  | 'AK_NAME_MISMATCH'
  | 'AK_ATTRIBUTES'
  | 'AK_ALGORITHM'
  | 'ATTEST_MAGIC'
  | 'ATTEST_TYPE'
  | 'ATTEST_MALFORMED'
  | 'SIGNATURE_MALFORMED'
  | 'SIGNATURE_INVALID'
  | 'QUALIFYING_DATA_MISMATCH'
  | 'ATTESTED_NAME_MISMATCH'
  | 'KEY_ATTRIBUTES'
  | 'KEY_ALGORITHM'
  | 'CSR_KEY_MISMATCH'
  /** What the TPM of this machine answered is not a response to the command. */
  | 'RESPONSE_MALFORMED'
  /** The TPM answered with an error; the message carries its response code. */
  | 'RESPONSE_REFUSED';

/** The only thing the parsers and checks of this folder throw on bad input, whatever the bytes. */
export class Tpm2Error extends Error {
  readonly code: Tpm2ErrorCode;
  constructor(code: Tpm2ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'Tpm2Error';
    this.code = code;
  }
}
