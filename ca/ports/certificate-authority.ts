import type { IssuanceOrder, SerialNumber } from './issuance-order.ts';

export type AuthorityDescription = {
  trustDomain: string;
  /** DER. */
  rootCertificate: Buffer;
  /** DER. */
  intermediateCertificate: Buffer;
  /** Number of the last CRL this authority signed, 0 before the first; it never goes back, whatever the gateway restores. */
  lastCrlNumber: number;
};

export type CrlOrder = {
  /** Must be above every number signed before. */
  number: number;
  /** Milliseconds UTC; must be at least a second after the last one's. */
  thisUpdate: number;
  nextUpdate: number;
  /** DER of the revokedCertificates entries one after the other, without the outer SEQUENCE; empty when there are none. */
  entries: Buffer;
};

/** The one who holds the issuing key, as the gateway sees it. Every call may fail with AuthorityError. */
export interface CertificateAuthority {
  describe(signal?: AbortSignal): Promise<AuthorityDescription>;
  /** DER. The same order asked again gives the same certificate; the same serial for another order is refused. */
  issue(order: IssuanceOrder, signal?: AbortSignal): Promise<Buffer>;
  /** The certificate once signed under this serial, if its signature ever left the authority or could have. */
  findIssued(serial: SerialNumber, signal?: AbortSignal): Promise<Buffer | undefined>;
  /** DER of the whole CRL. */
  signCrl(order: CrlOrder, signal?: AbortSignal): Promise<Buffer>;
}

export type AuthorityErrorCode =
  | 'ORDER_MALFORMED'
  | 'PROFILE_UNKNOWN'
  | 'PROFILE_REFUSED'
  | 'LINT_FAILED'
  | 'SERIAL_REUSED'
  | 'CRL_REFUSED'
  | 'JOURNAL_FAILED'
  | 'AUTHORITY_UNAVAILABLE'
  | 'AUTHORITY_FAILED';

export class AuthorityError extends Error {
  readonly code: AuthorityErrorCode;
  constructor(code: AuthorityErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AuthorityError';
    this.code = code;
  }
}
