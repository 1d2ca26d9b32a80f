import type { SerialNumber } from './issuance-order.ts';

/** One line of the authority's own record of every signature. Times are milliseconds UTC. */
export type JournalEntry =
  | {
      kind: 'intent';
      at: number;
      serial: SerialNumber;
      profile: string;
      subject: string;
      orderSha256: string;
      tbs: string;
    }
  | { kind: 'certificate'; at: number; serial: SerialNumber; der: string }
  | { kind: 'crl'; at: number; number: number; thisUpdate: number; sha256: string };

/** Append-only and durable. What a broken-into gateway got signed cannot be hidden from it. */
export interface Journal {
  /** Resolves once the entry is on the disk (fsynced; entries waiting together share one fsync). */
  append(entry: JournalEntry): Promise<void>;
  find(serial: SerialNumber): Promise<{ orderSha256: string; der: Buffer | undefined } | undefined>;
  lastCrl(): { number: number; thisUpdate: number };
}
