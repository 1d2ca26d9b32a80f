import { PkixError } from './pkix-error.ts';

/** DER (X.690): one way to write every value, so bytes can be compared. Encoder here; values are read in der-values.ts. */
export type Der = Buffer;

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  nullValue: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One tag, length and value; the parts are written one after the other as the value. */
export function tlv(tagByte: number, ...parts: Uint8Array[]): Der {
  let length = 0;
  for (const part of parts) length += part.length;
  const lengthOctets = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
  const out = Buffer.allocUnsafe(2 + lengthOctets + length);
  out[0] = tagByte;
  if (lengthOctets === 0) out[1] = length;
  else {
    out[1] = 0x80 | lengthOctets;
    out.writeUIntBE(length, 2, lengthOctets);
  }
  let at = 2 + lengthOctets;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function sequence(...parts: Uint8Array[]): Der {
  return tlv(TAG.sequence, ...parts);
}

/** Elements in the order DER wants (X.690 11.6). */
export function setOf(...parts: Uint8Array[]): Der {
  return tlv(TAG.set, ...parts.toSorted((a, b) => Buffer.compare(a, b)));
}

/** @param value not negative; bytes are an unsigned big-endian magnitude. */
export function integer(value: number | bigint | Uint8Array): Der {
  return tlv(TAG.integer, magnitude(value));
}

export function enumerated(value: number): Der {
  return tlv(TAG.enumerated, magnitude(value));
}

function magnitude(value: number | bigint | Uint8Array): Buffer {
  if (typeof value === 'number' && value >= 0 && value < 0x80) return Buffer.of(value);
  let bytes: Uint8Array;
  if (typeof value === 'object') bytes = value;
  else {
    const number = BigInt(value);
    if (number < 0n) throw new RangeError('negative integers are not written here');
    const hex = number.toString(16);
    bytes = Buffer.from(hex.length % 2 === 1 ? `0${hex}` : hex, 'hex');
  }
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const first = bytes[start];
  if (first === undefined) return Buffer.of(0);
  const trimmed = bytes.subarray(start);
  // The top bit is the sign.
  return first >= 0x80 ? Buffer.concat([Buffer.of(0), trimmed]) : Buffer.from(trimmed);
}

const encodedOids = new Map<string, Der>();

/** Written once and kept: callers pass constants of oids.ts, never text from outside. */
export function oid(dotted: string): Der {
  const known = encodedOids.get(dotted);
  if (known !== undefined) return known;
  const arcs = dotted.split('.').map((arc) => BigInt(arc));
  const [first, second, ...rest] = arcs;
  if (first === undefined || second === undefined || first > 2n || (first < 2n && second > 39n)) {
    throw new RangeError(`${dotted} is not an object identifier`);
  }
  const octets: number[] = [];
  for (const arc of [first * 40n + second, ...rest]) {
    const group = [Number(arc & 0x7fn)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) group.unshift(Number(left & 0x7fn) | 0x80);
    octets.push(...group);
  }
  const der = tlv(TAG.oid, Buffer.from(octets));
  encodedOids.set(dotted, der);
  return der;
}

export function octetString(bytes: Uint8Array): Der {
  return tlv(TAG.octetString, bytes);
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Der {
  return tlv(TAG.bitString, Buffer.of(unusedBits), bytes);
}

export function utf8String(text: string): Der {
  return tlv(TAG.utf8String, Buffer.from(text, 'utf8'));
}

export function isPrintable(text: string): boolean {
  return /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text);
}

/** @throws RangeError when the text holds a character PrintableString has not. */
export function printableString(text: string): Der {
  if (!isPrintable(text)) throw new RangeError('not a PrintableString');
  return tlv(TAG.printableString, Buffer.from(text, 'latin1'));
}

/** @throws RangeError outside ASCII. */
export function ia5String(text: string): Der {
  if (!/^[\x20-\x7e]*$/.test(text)) throw new RangeError('not an IA5String');
  return tlv(TAG.ia5String, Buffer.from(text, 'latin1'));
}

export function boolean(value: boolean): Der {
  return tlv(TAG.boolean, Buffer.of(value ? 0xff : 0));
}

export function nullValue(): Der {
  return tlv(TAG.nullValue);
}

/** RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime after; whole seconds. @param ms UTC. */
export function time(ms: number): Der {
  const iso = new Date(ms).toISOString();
  if (iso.length !== 24) throw new RangeError('a time is written for the years 0 to 9999');
  const clock = `${iso.slice(5, 7)}${iso.slice(8, 10)}${iso.slice(11, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}Z`;
  const year = iso.slice(0, 4);
  return year >= '1950' && year < '2050'
    ? tlv(TAG.utcTime, Buffer.from(year.slice(2) + clock, 'latin1'))
    : tlv(TAG.generalizedTime, Buffer.from(year + clock, 'latin1'));
}

/** [tag] EXPLICIT: the content is one whole element. */
export function explicit(tag: number, content: Uint8Array): Der {
  return tlv(0xa0 | tag, content);
}

/** [tag] IMPLICIT: the content is what stood inside the replaced tag. */
export function implicit(tag: number, content: Uint8Array, options: { constructed?: boolean } = {}): Der {
  return tlv((options.constructed === true ? 0xa0 : 0x80) | tag, content);
}

/** Bounds what a hostile input can cost. */
const MAX_DER_BYTES = 16 * 1024 * 1024;
const MAX_DER_DEPTH = 32;
const MAX_DER_CHILDREN = 65_536;

export interface DerElement {
  readonly tag: number;
  /** The value's octets, without tag and length. */
  readonly content: Buffer;
  /** Tag, length and value. */
  readonly raw: Buffer;
  /** @throws PkixError MALFORMED when this is not constructed, or what is inside is not DER. */
  children(): DerElement[];
}

/**
 * Strict: exactly one element, definite minimal lengths, low tag numbers, nothing left over.
 * Inner elements are checked when `children()` is called.
 * @throws PkixError MALFORMED
 */
export function readDer(bytes: Uint8Array): DerElement {
  if (bytes.length > MAX_DER_BYTES) throw new PkixError('MALFORMED', 'DER is too large');
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const element = readElement(buffer, 0, buffer.length, 0);
  if (element.end !== buffer.length) throw new PkixError('MALFORMED', 'octets after the end of the DER element');
  return element;
}

class Element implements DerElement {
  readonly tag: number;
  readonly end: number;
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #contentStart: number;
  readonly #depth: number;

  constructor(bytes: Buffer, start: number, contentStart: number, end: number, depth: number) {
    this.tag = bytes[start] ?? 0;
    this.end = end;
    this.#bytes = bytes;
    this.#start = start;
    this.#contentStart = contentStart;
    this.#depth = depth;
  }

  get content(): Buffer {
    return this.#bytes.subarray(this.#contentStart, this.end);
  }

  get raw(): Buffer {
    return this.#bytes.subarray(this.#start, this.end);
  }

  children(): DerElement[] {
    if ((this.tag & 0x20) === 0)
      throw new PkixError('MALFORMED', 'a primitive DER element where a constructed one belongs');
    const children: DerElement[] = [];
    for (let at = this.#contentStart; at < this.end; ) {
      if (children.length === MAX_DER_CHILDREN) throw new PkixError('MALFORMED', 'too many DER elements');
      const child = readElement(this.#bytes, at, this.end, this.#depth + 1);
      children.push(child);
      at = child.end;
    }
    return children;
  }
}

function readElement(bytes: Buffer, start: number, limit: number, depth: number): Element {
  if (depth > MAX_DER_DEPTH) throw new PkixError('MALFORMED', 'DER is nested too deep');
  const tag = bytes[start];
  let length = bytes[start + 1];
  if (tag === undefined || length === undefined || start + 2 > limit)
    throw new PkixError('MALFORMED', 'DER ends inside a header');
  if ((tag & 0x1f) === 0x1f) throw new PkixError('MALFORMED', 'high tag numbers are not used in X.509');
  let contentStart = start + 2;
  if (length >= 0x80) {
    const octets = length & 0x7f;
    if (octets === 0 || octets > 4) throw new PkixError('MALFORMED', 'a DER length is indefinite or too large');
    contentStart += octets;
    if (contentStart > limit) throw new PkixError('MALFORMED', 'DER ends inside a length');
    length = bytes.readUIntBE(start + 2, octets);
    if (length < 0x80 || bytes[start + 2] === 0) throw new PkixError('MALFORMED', 'a DER length is not minimal');
  }
  const end = contentStart + length;
  if (end > limit) throw new PkixError('MALFORMED', 'DER ends inside a value');
  return new Element(bytes, start, contentStart, end, depth);
}
