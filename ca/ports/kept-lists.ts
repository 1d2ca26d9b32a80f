/**
 * The last complete list of each issuer itself, beside the journal, which holds only its hash: what was revoked outlives
 * a database that was restored from an older copy.
 */
export interface KeptLists {
  /** Resolves once it is on the disk; those of before stay. To be called before the list is journaled. */
  keep(scope: string, number: number, der: Buffer): Promise<void>;
  /** Drops those of this scope before `number`, which is journaled. */
  dropBefore(scope: string, number: number): Promise<void>;
  find(scope: string, number: number): Promise<Buffer | undefined>;
}
