/** Small JSON documents, each replaced as a whole. */
export type RecordName = 'agent' | 'notices' | 'reports' | 'status' | 'time-floor' | 'tpm' | 'trust';

/** One key and, once issued, its certificate. */
export type StoredGeneration = {
  number: number;
  /** The private key as PEM. */
  key: string;
  /** DER, leaf first, then its issuers without the anchor. Empty: asked for, not yet answered. */
  certificates: Buffer[];
  meta: unknown;
};

/**
 * All that survives a power cut. Whatever resolved is on the disk; whatever did not is there whole or not at all.
 * One process at a time.
 */
export interface StateStore {
  /** @returns undefined when it was never written or cannot be read as JSON. */
  readRecord(name: RecordName): Promise<unknown>;
  writeRecord(name: RecordName, value: unknown): Promise<void>;
  /** DER, the pinned root first; empty before the first contact. */
  readTrust(): Promise<Buffer[]>;
  writeTrust(anchors: Buffer[]): Promise<void>;
  /** Ascending; only those that hold a key. */
  listGenerations(): Promise<number[]>;
  readGeneration(number: number): Promise<StoredGeneration | undefined>;
  currentGeneration(): Promise<number | undefined>;
  /** A new key beside the others. @returns its number, higher than every one before. */
  addGeneration(key: string, meta: unknown): Promise<number>;
  /** @param certificates leaf first. */
  completeGeneration(number: number, certificates: Buffer[], meta: unknown): Promise<void>;
  /** The one atomic step: from now on this generation is the device's identity. */
  switchTo(number: number): Promise<void>;
  /** Never the current one. */
  removeGeneration(number: number): Promise<void>;
}
