import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DerElement, integer, oid, readDer, sequence, TAG, time, tlv } from '#ca/pkix/der.ts';
import { readNumber, readOid, readTime, readUnsigned } from '#ca/pkix/der-values.ts';
import { formatIpAddress, parseIpAddress } from '#ca/pkix/ip-address.ts';
import { formatName, formatNameText } from '#ca/pkix/name.ts';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import { readRevokedEntries } from '#ca/revocation/revoked-entries.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { fuzzBytesParser, fuzzTextParser } from './fuzz-parser.ts';
import { holdsFor } from './fuzz-runs.ts';
import { mutatedDer } from './mutate-der.ts';

const nested = sequence(
  integer(7),
  sequence(oid('1.2.840.113549'), tlv(0xa0, tlv(TAG.octetString, Buffer.alloc(200)))),
);
const name = formatName({ organization: 'Grüße, "Ltd"', commonName: 'pump-1', serialNumber: 'SN 1' });

/** Every element of it, read and written again. */
function rewrite(element: DerElement): Buffer {
  if ((element.tag & 0x20) === 0) return tlv(element.tag, element.content);
  return tlv(element.tag, ...element.children().map(rewrite));
}

fuzzBytesParser({
  name: 'readDer',
  valid: [nested, name, makeKey().spki],
  mutated: [mutatedDer([nested, name])],
  parse: (bytes) => rewrite(readDer(bytes)),
  refusesWith: PkixError,
  // X.690 10: one way to write every value, so nothing else was accepted.
  holds: (rewritten, bytes) => expect(rewritten).toEqual(bytes),
});

fuzzBytesParser({
  name: 'formatNameText',
  valid: [name],
  mutated: [mutatedDer([name])],
  parse: formatNameText,
  refusesWith: PkixError,
  // It goes to terminals and logs.
  holds: (text) => expect(text).not.toMatch(/\p{Cc}/u),
});

fuzzTextParser({
  name: 'parsePem',
  valid: [formatPem('CERTIFICATE', nested), formatPem('X', name) + formatPem('CERTIFICATE', name)],
  parse: (text) => parsePem(text, 'CERTIFICATE'),
  refusesWith: PkixError,
  holds: (blocks) => {
    const written = blocks.map((block) => formatPem('CERTIFICATE', block)).join('');
    expect(parsePem(written, 'CERTIFICATE')).toEqual(blocks);
  },
});

fuzzTextParser({
  name: 'parseIpAddress',
  valid: ['127.0.0.1', '::1', '2001:db8::8:800:200c:417a', '::ffff:10.0.0.1', 'fe80:0:0:0:1:2:3:4'],
  parse: parseIpAddress,
  holds: (octets) => expect(parseIpAddress(formatIpAddress(octets) ?? '')).toEqual(octets),
});

describe('values of DER', () => {
  it('come back as they were written', () => {
    const arcs = fc.tuple(fc.nat(1), fc.nat(39), fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n }), { maxLength: 5 }));
    holdsFor(300, arcs, ([first, second, rest]) => {
      const dotted = [first, second, ...rest].join('.');
      expect(readOid(readDer(oid(dotted)), 'it')).toBe(dotted);
    });
    holdsFor(300, fc.nat(2 ** 47), (number) => expect(readNumber(readDer(integer(number)), 'it')).toBe(number));
    holdsFor(300, fc.bigInt({ min: 1n, max: 2n ** 160n }), (number) => {
      expect(BigInt(`0x${readUnsigned(readDer(integer(number)), 'it').toString('hex')}`)).toBe(number);
    });
    const seconds = fc.integer({ min: -62_135_596_800, max: 253_402_300_799 });
    holdsFor(300, seconds, (second) => expect(readTime(readDer(time(second * 1000)), 'it')).toBe(second * 1000));
  });

  it('are addresses of IPv6 in every form of their text', () => {
    holdsFor(300, fc.uint8Array({ minLength: 16, maxLength: 16 }), (octets) => {
      expect(parseIpAddress(formatIpAddress(octets) ?? '')).toEqual(Buffer.from(octets));
    });
  });
});

function element(text: string): Buffer {
  return tlv(text.length === 12 ? TAG.utcTime : TAG.generalizedTime, Buffer.from(`${text}Z`));
}

/** @returns undefined when it is refused */
function timeOf(read: () => number | undefined): number | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof PkixError) return undefined;
    throw error;
  }
}

describe('a time', () => {
  const twoDigits = fc.integer({ min: 0, max: 70 }).map((number) => String(number).padStart(2, '0'));
  const year = fc.oneof(
    twoDigits,
    fc.integer({ min: 0, max: 9999 }).map((number) => String(number).padStart(4, '0')),
  );
  const digits = fc
    .tuple(year, fc.array(twoDigits, { minLength: 5, maxLength: 5 }))
    .map(([y, rest]) => y + rest.join(''));
  const likely = fc
    .tuple(year, fc.integer({ min: 0, max: 13 }), fc.integer({ min: 0, max: 32 }))
    .map(([y, month, day]) => `${y}${String(month).padStart(2, '0')}${String(day).padStart(2, '0')}235959`);

  it('that is accepted is the one its digits say, and CRL entries are read by the same rules', () => {
    holdsFor(2000, fc.oneof(digits, likely), (text) => {
      const der = element(text);
      const certificateTime = timeOf(() => readTime(readDer(der), 'it'));
      const entry = sequence(integer(1), der);
      const revokedAt = timeOf(() => readRevokedEntries(entry).get('01')?.revokedAt);
      expect(revokedAt).toBe(certificateTime);
      if (certificateTime === undefined) return;
      const full = text.length === 12 ? `${text < '50' ? '20' : '19'}${text}` : text;
      expect(new Date(certificateTime).toISOString().replace(/\.000Z|\D/g, '')).toBe(full);
    });
  });

  it('of a revocation comes back from its entry', () => {
    const seconds = fc.integer({ min: -62_135_596_800, max: 253_402_300_799 });
    holdsFor(500, fc.tuple(seconds, fc.integer({ min: 1, max: 2 ** 40 })), ([second, number]) => {
      const serial = integer(number).subarray(2).toString('hex').replace(/^00/, '');
      const entry = formatRevokedEntry({ serial, revokedAt: second * 1000, reason: 'superseded' });
      expect([...readRevokedEntries(entry)]).toEqual([[serial, { revokedAt: second * 1000, reason: 'superseded' }]]);
    });
  });
});
