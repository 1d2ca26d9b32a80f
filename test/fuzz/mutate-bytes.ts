import * as fc from 'fast-check';

/** One change of a run of octets. Places are 16-bit and taken modulo the length, so that they shrink on their own. */
type Change =
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'set'; at: number; octet: number }
  | { kind: 'cut'; at: number }
  | { kind: 'insert'; at: number; octets: Uint8Array }
  | { kind: 'delete'; at: number; count: number }
  | { kind: 'repeat'; at: number; count: number; times: number }
  | { kind: 'swap'; at: number; other: number; count: number }
  | { kind: 'number'; at: number; width: 1 | 2 | 4; value: number };

const place = fc.nat(0xffff);
const short = fc.integer({ min: 1, max: 40 });
/** Octets on which parsers turn: lengths, signs, ends. */
const telling = fc.constantFrom(
  0x00,
  0x01,
  0x02,
  0x1f,
  0x30,
  0x31,
  0x3f,
  0x7f,
  0x80,
  0x81,
  0x82,
  0x84,
  0xa0,
  0xfe,
  0xff,
);
/** Numbers at the edges of what a length field can say. */
const edges = fc.constantFrom(
  0,
  1,
  2,
  0x7f,
  0x80,
  0xff,
  0x100,
  0x7fff,
  0x8000,
  0xffff,
  0x7fffffff,
  0x80000000,
  0xffffffff,
);

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('set' as const), at: place, octet: fc.oneof(telling, fc.nat(255)) }),
  fc.record({ kind: fc.constant('cut' as const), at: place }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: place,
    octets: fc.uint8Array({ minLength: 1, maxLength: 12 }),
  }),
  fc.record({ kind: fc.constant('delete' as const), at: place, count: short }),
  fc.record({ kind: fc.constant('repeat' as const), at: place, count: short, times: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ kind: fc.constant('swap' as const), at: place, other: place, count: short }),
  fc.record({ kind: fc.constant('number' as const), at: place, width: fc.constantFrom(1, 2, 4), value: edges }),
);

/** Something right, made wrong: one to four flipped bits, changed lengths, cuts, insertions, repeats and exchanges. */
export function mutatedBytes(valid: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.constantFrom(...valid), fc.array(change, { minLength: 1, maxLength: 4 }))
    .map(([bytes, changes]) => changes.reduce(apply, Buffer.from(bytes)));
}

/** The same for text; what is no UTF-8 afterwards becomes the replacement character, or stands for itself as latin1. */
export function mutatedText(valid: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(
      mutatedBytes(valid.map((text) => Buffer.from(text, 'utf8'))),
      fc.constantFrom('utf8' as const, 'latin1' as const),
    )
    .map(([bytes, encoding]) => bytes.toString(encoding));
}

/** Octets of no origin; short ones mostly, since those get further. */
export const randomOctets: fc.Arbitrary<Buffer> = fc
  .oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 400 }), fc.array(telling, { maxLength: 60 }))
  .map((octets) => Buffer.from(octets));

/** Text of no origin: printable, any of Unicode with lone surrogates, and bytes taken for text. */
export const randomText: fc.Arbitrary<string> = fc.oneof(
  fc.string({ maxLength: 80 }),
  fc.string({ unit: 'binary', maxLength: 80 }),
  randomOctets.map((octets) => octets.toString('latin1')),
);

function apply(bytes: Buffer, change: Change): Buffer {
  const at = bytes.length === 0 ? 0 : change.at % bytes.length;
  switch (change.kind) {
    case 'flip':
      return replace(bytes, at, 1, Buffer.of((bytes[at] ?? 0) ^ (1 << change.bit)));
    case 'set':
      return replace(bytes, at, 1, Buffer.of(change.octet));
    case 'cut':
      return bytes.subarray(0, at);
    case 'insert':
      return replace(bytes, at, 0, change.octets);
    case 'delete':
      return replace(bytes, at, change.count, Buffer.alloc(0));
    case 'repeat': {
      const part = bytes.subarray(at, at + change.count);
      return replace(bytes, at, 0, Buffer.concat(Array.from({ length: change.times }, () => part)));
    }
    case 'swap': {
      const other = bytes.length === 0 ? 0 : change.other % bytes.length;
      const [from, to] = at < other ? [at, other] : [other, at];
      const count = Math.min(change.count, to - from, bytes.length - to);
      const [a, b] = [bytes.subarray(from, from + count), bytes.subarray(to, to + count)];
      return Buffer.concat([
        bytes.subarray(0, from),
        b,
        bytes.subarray(from + count, to),
        a,
        bytes.subarray(to + count),
      ]);
    }
    case 'number': {
      const written = Buffer.alloc(4);
      written.writeUInt32BE(change.value);
      return replace(bytes, at, change.width, written.subarray(4 - change.width));
    }
  }
}

function replace(bytes: Buffer, at: number, count: number, octets: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), octets, bytes.subarray(at + count)]);
}
