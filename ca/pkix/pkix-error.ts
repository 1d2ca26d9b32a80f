export type PkixErrorCode = 'MALFORMED' | 'UNSUPPORTED' | 'SIGNATURE_INVALID' | 'CHAIN_INVALID' | 'OUT_OF_VALIDITY';

/** The only thing the parsers and checks of this folder throw on bad input, whatever the bytes. */
export class PkixError extends Error {
  readonly code: PkixErrorCode;
  constructor(code: PkixErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PkixError';
    this.code = code;
  }
}
