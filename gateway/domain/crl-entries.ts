import { SerialEnds } from './serial-ends.ts';

/** One of the parts into which serials are sorted. */
type Bucket = {
  /** Its entries one after the other, by serial. */
  encoded: Buffer;
  /** What is to be put in, or taken out (null), when it is encoded next. */
  pending: Map<string, Buffer | null> | undefined;
};

/** Serials begin with 00000001 to 01111111, so the first 11 bits after the sign make this many parts. */
const BUCKETS = 1024;

/**
 * The entries of one list, encoded and in the order of their serials. What changes costs the joining of its part, a
 * thousandth of the list; a new list is then the joining of octets that are there. There are no objects by entry: a
 * hundred thousand of them would have every garbage collection hold the doors.
 */
export class CrlEntries {
  readonly #buckets: (Bucket | undefined)[] = Array.from({ length: BUCKETS });
  /** Parts to be encoded anew. */
  readonly #dirty = new Set<Bucket>();
  readonly #ends = new SerialEnds();
  #size = 0;
  #seq = 0;

  /** As of the last encodeSome that left nothing to do. */
  get size(): number {
    return this.#size;
  }

  /** Of the newest status change that changed something here: a list that knows less has to be made anew. */
  get seq(): number {
    return this.#seq;
  }

  /** @param entry of formatRevokedEntry @param notAfter of the certificate, milliseconds UTC */
  put(serial: string, entry: Buffer, notAfter: number, seq: number): void {
    this.#change(serial, entry);
    this.#ends.add(serial, notAfter);
    this.#seq = seq;
  }

  remove(serial: string, seq: number): void {
    this.#change(serial, null);
    this.#seq = seq;
  }

  /** RFC 5280 3.3: an entry leaves once a list made after its certificate's end has had it. @param listedAt of that list */
  dropEnded(listedAt: number): void {
    // Not counted as a change: that something is gone that nobody needs is no reason for a new list.
    for (const serial of this.#ends.takeBefore(listedAt)) this.#change(serial, null);
  }

  #change(serial: string, entry: Buffer | null): void {
    const index = Number.parseInt(serial.slice(0, 3), 16) >> 1;
    const bucket = (this.#buckets[index] ??= { encoded: Buffer.alloc(0), pending: undefined });
    bucket.pending ??= new Map();
    bucket.pending.set(serial, entry);
    this.#dirty.add(bucket);
  }

  /**
   * Encodes what changed, at most about `most` octets, so that others get their turn in between.
   * @returns true when nothing is left to do
   */
  encodeSome(most: number): boolean {
    let octets = 0;
    for (const bucket of this.#dirty) {
      this.#merge(bucket);
      this.#dirty.delete(bucket);
      octets += bucket.encoded.length;
      if (octets >= most) return this.#dirty.size === 0;
    }
    return true;
  }

  #merge(bucket: Bucket): void {
    const { encoded, pending = new Map<string, Buffer | null>() } = bucket;
    const changes = [...pending].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const parts: Buffer[] = [];
    let kept = 0;
    let at = 0;
    for (const [serial, entry] of changes) {
      const wanted = Buffer.from(serial, 'hex');
      // Entries are at most 127 octets: SEQUENCE, its length; INTEGER, its length, the serial, which needs no sign octet.
      while (at < encoded.length && compareSerial(encoded, at, wanted) < 0) at += 2 + (encoded[at + 1] ?? 0);
      if (at > kept) parts.push(encoded.subarray(kept, at));
      const isThere = at < encoded.length && compareSerial(encoded, at, wanted) === 0;
      if (isThere) at += 2 + (encoded[at + 1] ?? 0);
      kept = at;
      if (entry !== null) parts.push(entry);
      this.#size += (entry === null ? 0 : 1) - (isThere ? 1 : 0);
    }
    parts.push(encoded.subarray(kept));
    bucket.encoded = Buffer.concat(parts);
    bucket.pending = undefined;
  }

  /** The entries one after the other, after the last encodeSome. */
  join(): Buffer {
    return Buffer.concat(this.#buckets.flatMap((bucket) => (bucket === undefined ? [] : [bucket.encoded])));
  }
}

function compareSerial(entries: Buffer, at: number, serial: Buffer): number {
  const length = entries[at + 3] ?? 0;
  return entries.compare(serial, 0, serial.length, at + 4, at + 4 + length);
}
