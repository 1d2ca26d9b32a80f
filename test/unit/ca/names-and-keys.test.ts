import { createECDH, createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bitString, implicit, integer, nullValue, oid, sequence } from '#ca/pkix/der.ts';
import { formatIpAddress, parseIpAddress } from '#ca/pkix/ip-address.ts';
import { formatName, formatNameText } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { classifyPublicKey, keyIdentifier, spkiSha256 } from '#ca/pkix/public-key.ts';
import { formatSerialNumber, isSerialNumber } from '#ca/pkix/serial-number.ts';
import { makeKey, makeRsaKey } from '#test/fixtures/ca/keys.ts';

describe('names', () => {
  it('writes UTF8String common names and PrintableString serial numbers', () => {
    const name = formatName({ commonName: 'ä', serialNumber: 'A-1' });
    expect(name.toString('hex')).toBe('301b310b300906035504030c02c3a4310c300a06035504051303412d31');
  });

  it('shows names as RFC 4514 writes them', () => {
    expect(formatNameText(formatName({ organization: 'Doe, Inc', commonName: 'a+b "c"' }))).toBe(
      'CN=a\\+b \\"c\\",O=Doe\\, Inc',
    );
  });

  it('shows control characters escaped, so that a name cannot forge a line of a log', () => {
    expect(formatNameText(formatName({ commonName: 'a\nb' }))).toBe('CN=a\\0ab');
  });

  it('refuses a serial number that PrintableString cannot hold', () => {
    expect(() => formatName({ serialNumber: 'a_b' })).toThrow(RangeError);
  });
});

describe('IP addresses', () => {
  it.each([
    ['127.0.0.1', '7f000001', '127.0.0.1'],
    ['::1', '00000000000000000000000000000001', '::1'],
    ['2001:DB8::', '20010db8000000000000000000000000', '2001:db8::'],
    ['1:0:0:2:0:0:0:3', '00010000000000020000000000000003', '1:0:0:2::3'],
    ['::ffff:10.0.0.1', '00000000000000000000ffff0a000001', '::ffff:a00:1'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008', '1:2:3:4:5:6:7:8'],
  ])('reads %s', (text, octets, shown) => {
    expect(parseIpAddress(text)?.toString('hex')).toBe(octets);
    expect(formatIpAddress(Buffer.from(octets, 'hex'))).toBe(shown);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    'g::',
    '1.2.3.4:',
    '::1.2.3',
  ])('refuses "%s"', (text) => {
    expect(parseIpAddress(text)).toBeUndefined();
  });
});

describe('PEM', () => {
  it('reads every block of a label, with text and other blocks around', () => {
    const a = Buffer.from('first');
    const b = Buffer.alloc(100, 7);
    const text = `subject=x\n${formatPem('CERTIFICATE', a)}\n${formatPem('X', b)}${formatPem('CERTIFICATE', b).replaceAll('\n', '\r\n')}`;
    expect(parsePem(text, 'CERTIFICATE')).toEqual([a, b]);
  });

  it.each([
    ['no block', 'hello'],
    ['a block without end', '-----BEGIN CERTIFICATE-----\nAAAA\n'],
    ['a block that is not base64', '-----BEGIN CERTIFICATE-----\nA*AA\n-----END CERTIFICATE-----'],
    ['an empty block', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----'],
  ])('refuses %s', (_what, text) => {
    expect(() => parsePem(text, 'CERTIFICATE')).toThrow(PkixError);
  });

  it('reads back any octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (octets) => {
        expect(parsePem(formatPem('X', octets), 'X')).toEqual([Buffer.from(octets)]);
      }),
    );
  });
});

describe('serial numbers', () => {
  it('are what a certificate gives back, for any random octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (random) => {
        const serial = formatSerialNumber(random);
        const der = integer(Buffer.from(serial, 'hex'));
        expect(der.toString('hex')).toBe(`0210${serial}`);
      }),
    );
    expect(formatSerialNumber(Buffer.alloc(16))).toBe(`01${'00'.repeat(15)}`);
  });

  it.each(['', '00'.repeat(16), `80${'00'.repeat(15)}`, `00${'ff'.repeat(15)}`, 'AA'.repeat(16), '11'.repeat(20)])(
    'are not "%s"',
    (text) => {
      expect(isSerialNumber(text)).toBe(false);
    },
  );
});

describe('public keys', () => {
  it.each(['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048', 'rsa-3072'] as const)('knows %s', (kind) => {
    expect(classifyPublicKey(makeKey(kind).spki).kind).toBe(kind);
  });

  const p256 = makeKey().spki;
  const offCurve = Buffer.from(p256);
  offCurve.writeUInt8(offCurve.readUInt8(90) ^ 1, 90);
  const compressed = Buffer.from(createECDH('prime256v1').generateKeys('hex', 'compressed'), 'hex');

  it.each([
    ['RSA of 1024 bits', makeRsaKey(1024).spki],
    ['RSA with exponent 3', rsa(2048, 3)],
    ['RSA with exponent 1', rsa(2048, 1)],
    ['RSA with an even exponent', rsa(2048, 65_538)],
    ['RSA with a huge exponent', rsa(2048, 2n ** 64n + 1n)],
    ['RSA with an even modulus', rsa(2048, 65_537, 0x02)],
    ['RSA of 8192 bits', rsa(8192, 65_537)],
    ['a point off its curve', offCurve],
    ['a compressed point', ec(OID.prime256v1, compressed)],
    ['P-521', ec(OID.secp521r1, Buffer.alloc(133, 4))],
    ['the point at infinity', ec(OID.prime256v1, Buffer.of(0))],
    [
      'explicit curve parameters',
      sequence(sequence(oid(OID.ecPublicKey), sequence(integer(1))), bitString(Buffer.of(4))),
    ],
    ['an unknown algorithm', sequence(sequence(oid('1.2.3.4')), bitString(Buffer.of(4)))],
    ['garbage', Buffer.from('hello')],
    ['nothing', Buffer.alloc(0)],
    ['another structure', implicit(0, Buffer.alloc(0))],
  ])('does not certify %s', (_what, spki) => {
    expect(classifyPublicKey(spki).kind).toBeUndefined();
  });

  it('rounds RSA sizes down to the kind of policy', () => {
    expect(classifyPublicKey(rsa(2056, 65_537))).toEqual({ kind: 'rsa-2048', description: 'RSA 2056' });
    expect(classifyPublicKey(rsa(4096, 65_537)).kind).toBe('rsa-4096');
  });

  it('identifies a key by the first 160 bits of SHA-256 of the key itself (RFC 7093 2)', () => {
    const key = p256.subarray(26);
    expect(keyIdentifier(p256)).toEqual(createHash('sha256').update(key).digest().subarray(0, 20));
    expect(spkiSha256(p256)).toBe(createHash('sha256').update(p256).digest('hex'));
  });
});

function rsa(bits: number, exponent: number | bigint, lastOctet = 0x01): Buffer {
  const modulus = Buffer.alloc(bits / 8, 0xff);
  modulus[modulus.length - 1] = lastOctet;
  const key = sequence(integer(modulus), integer(exponent));
  return sequence(sequence(oid(OID.rsaEncryption), nullValue()), bitString(key));
}

function ec(curve: string, point: Buffer): Buffer {
  return sequence(sequence(oid(OID.ecPublicKey), oid(curve)), bitString(point));
}
