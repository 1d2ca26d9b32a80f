import type { IssuedPage } from './certificate-authority.ts';
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
  | { kind: 'certificate'; at: number; serial: SerialNumber; orderSha256: string; der: string }
  | {
      kind: 'crl';
      at: number;
      number: number;
      thisUpdate: number;
      /** `<scope>@<issuer key id>`; left out by versions that knew one list: counts for every scope. */
      scope?: string;
      sha256: string;
    };

/** What stands under a serial. An intent alone: the signature never left, and only these very bytes may yet be signed. */
export type JournaledIssuance =
  | { kind: 'intent'; orderSha256: string; tbs: Buffer }
  | { kind: 'certificate'; orderSha256: string; der: Buffer };

/** `thisUpdate` in milliseconds UTC. */
export type SignedList = { number: number; thisUpdate: number };

/** Append-only and durable. What a broken-into gateway got signed cannot be hidden from it. */
export interface Journal {
  /** Resolves once the entry is on the disk (fsynced; entries waiting together share one fsync). */
  append(entry: JournalEntry): Promise<void>;
  find(serial: SerialNumber): Promise<JournaledIssuance | undefined>;
  /** The highest number and latest thisUpdate, of this scope or of all; 0 before the first. */
  lastCrl(scope?: string): SignedList;
  /** Octets of whole, durable lines. */
  readonly length: number;
  /** See JournaledAuthority.readIssued. @throws AuthorityError ORDER_MALFORMED, JOURNAL_FAILED */
  readIssued(from: number): Promise<IssuedPage>;
}
