import type { DerElement } from './der.ts';
import { TAG } from './der.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';

/** Readers of single DER values. All throw PkixError MALFORMED. */

export function expectTag(element: DerElement, tag: number, what: string): DerElement {
  if (element.tag !== tag) throw new PkixError('MALFORMED', `${what} has DER tag 0x${element.tag.toString(16)}`);
  return element;
}

/** The fields of a SEQUENCE in their order, some of them optional. */
export class DerFields {
  readonly #fields: DerElement[];
  readonly #what: string;
  #next = 0;

  constructor(element: DerElement, what: string, tag: number = TAG.sequence) {
    this.#fields = expectTag(element, tag, what).children();
    this.#what = what;
  }

  /** The next field, which must have this tag. */
  take(tag: number, name: string): DerElement {
    const field = this.optional(tag);
    if (field === undefined) throw new PkixError('MALFORMED', `${this.#what} lacks ${name}`);
    return field;
  }

  /** The next field if it has this tag. */
  optional(tag: number): DerElement | undefined {
    const field = this.#fields[this.#next];
    if (field?.tag !== tag) return undefined;
    this.#next += 1;
    return field;
  }

  /** To be called last: unknown fields at the end are refused. */
  end(): void {
    if (this.#next < this.#fields.length) throw new PkixError('MALFORMED', `${this.#what} has a field too many`);
  }
}

/** The one element inside an EXPLICIT tag, or the one value of a SET. */
export function onlyChild(element: DerElement, what: string): DerElement {
  const [child, second] = element.children();
  if (child === undefined || second !== undefined)
    throw new PkixError('MALFORMED', `${what} must hold exactly one value`);
  return child;
}

/** @returns the magnitude without sign octet; refuses negative and non-minimal ones. */
export function readUnsigned(element: DerElement, what: string): Buffer {
  const { content } = expectTag(element, TAG.integer, what);
  const [first, second] = content;
  if (first === undefined || first >= 0x80) throw new PkixError('MALFORMED', `${what} is not a positive INTEGER`);
  if (first !== 0 || second === undefined) return content;
  if (second < 0x80) throw new PkixError('MALFORMED', `${what} is not a minimal INTEGER`);
  return content.subarray(1);
}

/** A number below 2^48. */
export function readNumber(element: DerElement, what: string): number {
  const bytes = readUnsigned(element, what);
  if (bytes.length > 6) throw new PkixError('MALFORMED', `${what} is too large`);
  return bytes.readUIntBE(0, bytes.length);
}

export function readBoolean(element: DerElement, what: string): boolean {
  const { content } = expectTag(element, TAG.boolean, what);
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) {
    throw new PkixError('MALFORMED', `${what} is not a DER BOOLEAN`);
  }
  return content[0] === 0xff;
}

/** A BIT STRING of whole octets: keys and signatures. */
export function readOctetsOfBitString(element: DerElement, what: string): Buffer {
  const { content } = expectTag(element, TAG.bitString, what);
  if (content[0] !== 0) throw new PkixError('MALFORMED', `${what} is not a BIT STRING of whole octets`);
  return content.subarray(1);
}

/** A named BIT STRING: numbers of the bits set; trailing zero bits are refused (X.690 11.2.2). */
export function readNamedBits(element: DerElement, what: string): number[] {
  const { content } = expectTag(element, TAG.bitString, what);
  const [unused, ...octets] = content;
  const last = octets.at(-1);
  if (unused === undefined || unused > 7 || octets.length > 4)
    throw new PkixError('MALFORMED', `${what} is not a named BIT STRING`);
  if (last === undefined ? unused !== 0 : (last & ((1 << unused) - 1)) !== 0 || (last & (1 << unused)) === 0) {
    throw new PkixError('MALFORMED', `${what} is not a DER named BIT STRING`);
  }
  return octets.flatMap((octet, index) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (octet & (0x80 >> bit)) !== 0).map((bit) => index * 8 + bit),
  );
}

const MAX_OID_OCTETS = 64;
const knownOids = new Map<string, string>();

/** @returns dotted. */
export function readOid(element: DerElement, what: string): string {
  const { content } = expectTag(element, TAG.oid, what);
  const key = content.toString('latin1');
  const known = knownOids.get(key);
  if (known !== undefined) return known;
  if (content.length === 0 || content.length > MAX_OID_OCTETS || (content.at(-1) ?? 0x80) >= 0x80) {
    throw new PkixError('MALFORMED', `${what} is not an OBJECT IDENTIFIER`);
  }
  const arcs: bigint[] = [];
  let arc = 0n;
  let starts = true;
  for (const octet of content) {
    if (starts && octet === 0x80) throw new PkixError('MALFORMED', `${what} is not a minimal OBJECT IDENTIFIER`);
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    starts = octet < 0x80;
    if (starts) {
      arcs.push(arc);
      arc = 0n;
    }
  }
  const [head = 0n, ...rest] = arcs;
  const first = head < 40n ? 0n : head < 80n ? 1n : 2n;
  const dotted = [first, head - first * 40n, ...rest].join('.');
  // Only our own constants are kept: what strangers send must not grow this table.
  if (OUR_OIDS.has(dotted)) knownOids.set(key, dotted);
  return dotted;
}

const OUR_OIDS: ReadonlySet<string> = new Set(Object.values(OID));

/** @returns milliseconds UTC. RFC 5280 4.1.2.5: seconds present, `Z`, no fraction. */
export function readTime(element: DerElement, what: string): number {
  const { content } = element;
  if (element.tag === TAG.utcTime && content.length === 13) {
    const year = digits(content, 0, 2, what);
    return timeOf(year < 50 ? 2000 + year : 1900 + year, content, 2, what);
  }
  if (element.tag === TAG.generalizedTime && content.length === 15) {
    return timeOf(digits(content, 0, 4, what), content, 4, what);
  }
  throw new PkixError('MALFORMED', `${what} is not a time`);
}

function timeOf(year: number, content: Buffer, at: number, what: string): number {
  const month = digits(content, at, 2, what);
  const day = digits(content, at + 2, 2, what);
  const hour = digits(content, at + 4, 2, what);
  const minute = digits(content, at + 6, 2, what);
  const second = digits(content, at + 8, 2, what);
  if (content[at + 10] !== 0x5a || hour > 23 || minute > 59 || second > 59)
    throw new PkixError('MALFORMED', `${what} is not a time`);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day)
    throw new PkixError('MALFORMED', `${what} is not a date`);
  return date.setUTCHours(hour, minute, second);
}

function digits(content: Buffer, at: number, count: number, what: string): number {
  let value = 0;
  for (let i = at; i < at + count; i += 1) {
    const digit = (content[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) throw new PkixError('MALFORMED', `${what} is not a time`);
    value = value * 10 + digit;
  }
  return value;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** UTF8String, PrintableString or IA5String. @returns undefined for other string types. */
export function readText(element: DerElement, what: string): string | undefined {
  const { content } = element;
  if (element.tag === TAG.utf8String) {
    try {
      return utf8.decode(content);
    } catch (cause) {
      throw new PkixError('MALFORMED', `${what} is not UTF-8`, { cause });
    }
  }
  if (element.tag !== TAG.printableString && element.tag !== TAG.ia5String) return undefined;
  for (const octet of content) {
    if (octet >= 0x80) throw new PkixError('MALFORMED', `${what} is not ASCII`);
  }
  return content.toString('latin1');
}
