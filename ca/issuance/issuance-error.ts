export type IssuanceErrorCode = 'ORDER_MALFORMED' | 'PROFILE_UNKNOWN' | 'PROFILE_REFUSED' | 'LINT_FAILED';

/** Why no certificate was made of an order. */
export class IssuanceError extends Error {
  readonly code: IssuanceErrorCode;
  constructor(code: IssuanceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'IssuanceError';
    this.code = code;
  }
}
