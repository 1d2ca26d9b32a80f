export type CrlDownload = { kind: 'unchanged' } | { kind: 'fetched'; der: Buffer; etag: string | undefined };

/** Where the CRL lies for local services. What resolved is on the disk; a CRL is replaced as a whole or not at all. */
export interface CrlFolder {
  /** The CRL as it lies there, DER; undefined when there is none. */
  readCrl(): Promise<Buffer | undefined>;
  /**
   * Fetches into a place of its own; nothing is replaced by that.
   * @param etag of the one at hand, so that it is not sent again
   * @throws AgentError GATEWAY_UNREACHABLE, or ANSWER_UNFIT for another answer and for one that is too large
   */
  download(url: string, etag: string | undefined, signal: AbortSignal): Promise<CrlDownload>;
  /** What was downloaded last takes the place of the CRL. */
  accept(): Promise<void>;
  /** What was downloaded last goes. */
  discard(): Promise<void>;
  /** undefined when it was never written or cannot be read as JSON. */
  readRevoked(): Promise<unknown>;
  writeRevoked(value: unknown): Promise<void>;
}
