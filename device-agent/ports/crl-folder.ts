export type CrlDownload = { kind: 'unchanged' } | { kind: 'fetched'; der: Buffer; etag: string | undefined };

/**
 * Where the CRLs lie for local services, one of each issuer, named by its key id (lower-case hexadecimal). What resolved
 * is on the disk; each file is replaced as a whole or not at all.
 */
export interface CrlFolder {
  /** The CRLs as they lie there, DER, by the key id that names each. */
  readCrls(): Promise<Map<string, Buffer>>;
  /** DER of the CAs that stand beside them; empty when that cannot be read. */
  readIssuers(): Promise<Buffer[]>;
  /** Key id of the issuer in use; undefined when none is chosen. */
  readChosen(): Promise<string | undefined>;
  /**
   * Fetches into a place of its own; nothing is replaced by that.
   * @param options.etag of the one at hand, so that it is not sent again
   * @throws AgentError GATEWAY_UNREACHABLE, or ANSWER_UNFIT for another answer and for one that is too large
   */
  download(
    url: string,
    options: { etag: string | undefined; maxBytes: number; signal: AbortSignal },
  ): Promise<CrlDownload>;
  /** What was downloaded last takes the place of the CRL of this issuer. */
  accept(keyId: string): Promise<void>;
  /** What was downloaded last goes. */
  discard(): Promise<void>;
  /** The CRL of this issuer is the one in use. */
  choose(keyId: string): Promise<void>;
  /** The CRL of this issuer goes; with it the choice, when it is the chosen one. */
  remove(keyId: string): Promise<void>;
  /** All of them in one file, for those who check peers of any issuer, and beside it the CAs that signed them. DER. */
  writeTogether(crls: readonly Buffer[], issuers: readonly Buffer[]): Promise<void>;
  /** undefined when it was never written or cannot be read as JSON. */
  readRevoked(): Promise<unknown>;
  writeRevoked(value: unknown): Promise<void>;
}
