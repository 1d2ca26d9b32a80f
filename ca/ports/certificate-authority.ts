import type { CrlScope } from '#ca/revocation/crl-scope.ts';
import type { IssuanceOrder, SerialNumber } from './issuance-order.ts';

export type AuthorityDescription = {
  trustDomain: string;
  /** DER. */
  rootCertificate: Buffer;
  /** DER. */
  intermediateCertificate: Buffer;
  /** Highest number of any CRL this authority signed, 0 before the first; it never goes back, whatever the gateway restores. */
  lastCrlNumber: number;
  /** Into how many lists it splits the revocations of what it issues now; left out: one whole list. */
  crlShards?: number;
  /** Base of the URLs that it writes into what it issues now; left out: none, or not told. */
  statusUrl?: string;
  /** Octets of its journal; left out by an authority that does not let it be read. */
  journalLength?: number;
  /** All whose keys it holds, oldest first; left out by an authority that knows one alone. */
  issuers?: AuthorityIssuer[];
};

/** One issuing CA of an authority. DER. */
export type AuthorityIssuer = {
  /** Subject key id, lower-case hexadecimal. */
  keyId: string;
  certificate: Buffer;
  root: Buffer;
  /** Where its root took the place of another: NewWithOld and OldWithNew (RFC 9810 4.4). */
  crossCertificates: Buffer[];
  /** The one that issues now. */
  isActive: boolean;
};

export type CrlOrder = {
  /** What the list covers; left out: everything, and no delta list to it. */
  scope?: CrlScope;
  /** Whose certificates it lists: subject key id, lower-case hexadecimal; left out: of the issuer in use. */
  issuerKeyId?: string;
  /** Must be above every number signed before for this issuer and scope. */
  number: number;
  /** Milliseconds UTC; must be at least a second after that of the last one of this issuer and scope. */
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
  /** DER of the signed list. */
  signCrl(order: CrlOrder, signal?: AbortSignal): Promise<Buffer>;
}

/** Certificates in the order in which they were signed. `at`: milliseconds UTC. `next`: where to read on; the same: no more. */
export type IssuedPage = { issued: { at: number; der: Buffer }[]; next: number };

/** `number`: 0 when none was ever signed. `der`: left out when it was signed by a version that kept none. */
export type LastList = { number: number; der?: Buffer };

/** An authority that tells what it has signed, to a gateway that has lost its own record of it. */
export interface JournaledAuthority {
  /**
   * @param from `journalLength` or `next` of before; 0: from the beginning. Past the end (the journal was restored from
   * an older copy) `next` is the end. @throws AuthorityError ORDER_MALFORMED when no line begins there
   */
  readIssued(from: number, signal?: AbortSignal): Promise<IssuedPage>;
  /** The complete list that it signed last for an issuer. */
  lastList(issuerKeyId: string, signal?: AbortSignal): Promise<LastList>;
}

/** An authority whose issuing CA can be replaced. */
export interface SucceededAuthority extends CertificateAuthority, JournaledAuthority {
  /**
   * From now on this one issues, also after a restart; the ones before still sign lists. There is no way back to an
   * older one. Asked again for the one that issues: nothing happens.
   */
  activateIssuer(keyId: string, signal?: AbortSignal): Promise<AuthorityDescription>;
  /**
   * One that came after the one in use, and has never issued, goes with its keys. Asked again: nothing happens.
   * @throws AuthorityError ISSUER_REFUSED for one that issues or has issued
   */
  discardIssuer(keyId: string, signal?: AbortSignal): Promise<AuthorityDescription>;
}

export type AuthorityErrorCode =
  | 'ORDER_MALFORMED'
  | 'PROFILE_UNKNOWN'
  | 'PROFILE_REFUSED'
  | 'LINT_FAILED'
  | 'SERIAL_REUSED'
  | 'CRL_REFUSED'
  | 'ISSUER_REFUSED'
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
