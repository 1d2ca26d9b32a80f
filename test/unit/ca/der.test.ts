import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as der from '#ca/pkix/der.ts';
import {
  readBoolean,
  readNamedBits,
  readNumber,
  readOid,
  readText,
  readTime,
  readUnsigned,
} from '#ca/pkix/der-values.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('DER encoder', () => {
  it.each([
    ['0', der.integer(0), '020100'],
    ['127', der.integer(127), '02017f'],
    ['128, which needs a sign octet', der.integer(128), '02020080'],
    ['65537', der.integer(65_537), '0203010001'],
    ['a magnitude with its top bit set', der.integer(bytes('ff00')), '020300ff00'],
    ['a magnitude with leading zeros', der.integer(bytes('0000 7f')), '02017f'],
    ['an empty magnitude', der.integer(Buffer.alloc(0)), '020100'],
    ['a number of 128 bits', der.integer(2n ** 127n), `02110080${'00'.repeat(15)}`],
    ['TRUE', der.boolean(true), '0101ff'],
    ['NULL', der.nullValue(), '0500'],
    ['digitalSignature', der.bitString(Buffer.of(0x80), 7), '03020780'],
    ['clientAuth', der.oid('1.3.6.1.5.5.7.3.2'), '06082b06010505070302'],
    ['an arc above 2^53', der.oid('2.25.340282366920938463463374607431768211455'), `06146983${'ff'.repeat(17)}7f`],
    ['an end of 2049', der.time(Date.UTC(2049, 11, 31, 23, 59, 59)), `170d${hex(Buffer.from('491231235959Z'))}`],
    ['a start of 2050', der.time(Date.UTC(2050, 0, 1)), `180f${hex(Buffer.from('20500101000000Z'))}`],
    ['[0] EXPLICIT', der.explicit(0, der.integer(2)), 'a003020102'],
    ['[0] IMPLICIT', der.implicit(0, bytes('aabb')), '8002aabb'],
    ['a set in DER order', der.setOf(der.integer(2), der.integer(1)), '3106020101020102'],
  ])('writes %s', (_what, written, expected) => {
    expect(hex(written)).toBe(expected);
  });

  it('writes long lengths minimally', () => {
    expect(hex(der.octetString(Buffer.alloc(127))).slice(0, 4)).toBe('047f');
    expect(hex(der.octetString(Buffer.alloc(128))).slice(0, 6)).toBe('048180');
    expect(hex(der.octetString(Buffer.alloc(256))).slice(0, 8)).toBe('04820100');
    expect(hex(der.octetString(Buffer.alloc(65_536))).slice(0, 10)).toBe('0483010000');
  });

  it.each([
    ['negative integers', () => der.integer(-1)],
    ['impossible identifiers', () => der.oid('3.1')],
    ['an @ in a PrintableString', () => der.printableString('a@b')],
    ['a line end in an IA5String', () => der.ia5String('a\nb')],
    ['the year 10000', () => der.time(Date.UTC(10_000, 0, 1))],
  ])('refuses to write %s', (_what, write) => {
    expect(write).toThrow(RangeError);
  });
});

describe('DER reader', () => {
  it.each([
    ['nothing', ''],
    ['a lone tag', '30'],
    ['a value cut short', '3003 0201'],
    ['octets left over', '0500 00'],
    ['an indefinite length', '3080 0500 0000'],
    ['a long length for a short value', '308103 020101'],
    ['a length with a leading zero', '30820003 020101'],
    ['a length of five octets', '30850000000003 020101'],
    ['a high tag number', '1f8101 00'],
  ])('refuses %s', (_what, text) => {
    expect(() => der.readDer(bytes(text))).toThrow(PkixError);
  });

  it('refuses what is broken inside when it gets there', () => {
    const outer = der.readDer(bytes('3003 020205'));
    expect(() => outer.children()).toThrow(PkixError);
  });

  it('refuses to look inside a primitive element', () => {
    expect(() => der.readDer(der.octetString(der.nullValue())).children()).toThrow(PkixError);
  });

  it('refuses nesting without end', () => {
    let nested: Buffer = der.sequence();
    for (let i = 0; i < 100; i += 1) nested = der.sequence(nested);
    const descend = (element: der.DerElement): number => {
      const [child] = element.children();
      return child === undefined ? 0 : 1 + descend(child);
    };
    expect(() => descend(der.readDer(nested))).toThrow(/too deep/);
  });

  it.each([
    ['a negative INTEGER', () => readUnsigned(der.readDer(bytes('0201ff')), 'n')],
    ['an INTEGER with a needless zero', () => readUnsigned(der.readDer(bytes('0202007f')), 'n')],
    ['an empty INTEGER', () => readUnsigned(der.readDer(bytes('0200')), 'n')],
    ['a BOOLEAN of 01', () => readBoolean(der.readDer(bytes('010101')), 'b')],
    ['named bits with trailing zeros', () => readNamedBits(der.readDer(bytes('03020080')), 'b')],
    ['named bits with unused bits set', () => readNamedBits(der.readDer(bytes('03020781')), 'b')],
    ['an OBJECT IDENTIFIER cut short', () => readOid(der.readDer(bytes('06022a86')), 'o')],
    ['an OBJECT IDENTIFIER with a padded arc', () => readOid(der.readDer(bytes('06032a8001')), 'o')],
    ['a UTCTime without seconds', () => readTime(der.readDer(der.tlv(0x17, Buffer.from('2601010000Z'))), 't')],
    ['the 30th of February', () => readTime(der.readDer(der.tlv(0x17, Buffer.from('260230000000Z'))), 't')],
    ['a time with an offset', () => readTime(der.readDer(der.tlv(0x18, Buffer.from('2026010100000+1'))), 't')],
    ['bad UTF-8', () => readText(der.readDer(bytes('0c02c328')), 's')],
    ['a PrintableString beyond ASCII', () => readText(der.readDer(bytes('1301e9')), 's')],
  ])('refuses %s', (_what, read) => {
    expect(read).toThrow(PkixError);
  });

  it('reads the time of no end (RFC 5280 4.1.2.5)', () => {
    const text = Buffer.from('99991231235959Z');
    expect(readTime(der.readDer(der.tlv(0x18, text)), 't')).toBe(Date.UTC(9999, 11, 31, 23, 59, 59));
  });

  it('reads back every identifier of ours', () => {
    for (const dotted of Object.values(OID)) expect(readOid(der.readDer(der.oid(dotted)), 'o')).toBe(dotted);
  });

  it('reads back what it wrote', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 160n }),
        fc.integer({ min: 0, max: 2 ** 47 }),
        fc.date({ min: new Date(Date.UTC(1950, 0, 1)), max: new Date(Date.UTC(9999, 11, 31)), noInvalidDate: true }),
        fc.string({ unit: 'grapheme', maxLength: 40 }),
        fc.array(fc.integer({ min: 0, max: 2 ** 31 }), { maxLength: 8 }),
        (big, number, date, text, arcs) => {
          const magnitude = readUnsigned(der.readDer(der.integer(big)), 'n');
          expect(BigInt(`0x${magnitude.toString('hex')}`)).toBe(big);
          expect(readNumber(der.readDer(der.integer(number)), 'n')).toBe(number);
          expect(readTime(der.readDer(der.time(date.getTime())), 't')).toBe(Math.floor(date.getTime() / 1000) * 1000);
          expect(readText(der.readDer(der.utf8String(text)), 's')).toBe(text);
          const dotted = ['1', '3', ...arcs].join('.');
          expect(readOid(der.readDer(der.oid(dotted)), 'o')).toBe(dotted);
        },
      ),
    );
  });
});
