import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import * as peculiar from '@peculiar/x509';
import * as pkijs from 'pkijs';
import { describe, expect, it } from 'vitest';
import { parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import { bitString, boolean, implicit, integer, octetString, oid, sequence } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import type { KeyKind } from '#ca/pkix/public-key.ts';
import { readSerialNumber } from '#ca/pkix/read-serial-number.ts';
import { DAY, formatDraft, makeCertificate, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';

const subjectAltName = formatExtension(
  OID.subjectAltName,
  false,
  sequence(
    implicit(6, Buffer.from('spiffe://a/device/b')),
    implicit(2, Buffer.from('host.example')),
    implicit(7, Buffer.of(10, 0, 0, 1)),
    implicit(1, Buffer.from('a@b')),
  ),
);

describe('parseCertificate', () => {
  it('reads what node, pkijs and @peculiar/x509 read', () => {
    const root = makeRoot();
    const { certificate } = makeCertificate({ name: 'leaf', issuer: root, moreExtensions: [subjectAltName] });
    const node = new X509Certificate(certificate.der);
    expect(certificate.serial).toBe(node.serialNumber.toLowerCase());
    expect(certificate.sha256).toBe(node.fingerprint256.replaceAll(':', '').toLowerCase());
    expect(new Date(certificate.notAfter)).toEqual(node.validToDate);
    expect(certificate.uris).toEqual(['spiffe://a/device/b']);
    expect(certificate.dnsNames).toEqual(['host.example']);
    expect(certificate.ipAddresses).toEqual(['10.0.0.1']);
    expect([...(certificate.keyUsage ?? [])]).toEqual(['digitalSignature']);
    expect(certificate.extendedKeyUsage).toEqual([OID.clientAuth]);
    expect(certificate.isCa).toBe(false);

    const other = new peculiar.X509Certificate(certificate.der);
    expect(other.serialNumber).toBe(certificate.serial);
    expect(Buffer.from(other.publicKey.rawData)).toEqual(certificate.publicKey);
    const keyId = other.getExtension(peculiar.AuthorityKeyIdentifierExtension)?.keyId;
    expect(keyId).toBe(certificate.authorityKeyId);
    expect(certificate.authorityKeyId).toBe(root.certificate.subjectKeyId);

    const third = pkijs.Certificate.fromBER(certificate.der);
    expect(third.notBefore.value.getTime()).toBe(certificate.notBefore);
    expect(third.extensions?.map(({ extnID }) => extnID)).toEqual([...certificate.extensions.keys()]);
  });

  it.each(['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048'] as const)('checks signatures of %s', (kind: KeyKind) => {
    const root = makeRoot({ key: makeKey(kind) });
    const { certificate } = makeCertificate({ issuer: root });
    expect(verifyCertificateSignature(certificate, root.certificate.publicKey)).toBe(true);
    expect(verifyCertificateSignature(certificate, makeKey(kind).spki)).toBe(kind === 'rsa-2048');
    expect(verifyCertificateSignature({ ...certificate, tbs: Buffer.from('other') }, root.certificate.publicKey)).toBe(
      false,
    );
  });

  it('knows a CA and its path length', () => {
    const { certificate } = makeIntermediate(makeRoot());
    expect(certificate).toMatchObject({ isCa: true, pathLength: 0 });
  });

  const key = makeKey();
  it.each([
    ['an extension that stands there twice', { moreExtensions: [subjectAltName, subjectAltName] }],
    ['an empty list of extensions', { extensions: [] }],
    ['a serial number of 0', { serial: integer(0) }],
    ['a negative serial number', { serial: Buffer.from('0201ff', 'hex') }],
    ['a serial number of 21 octets', { serial: integer(Buffer.alloc(21, 1)) }],
    [
      'cA FALSE written out',
      { extensions: [formatExtension(OID.basicConstraints, true, sequence(boolean(false), integer(0)))] },
    ],
    [
      'a path length without CA:TRUE',
      { extensions: [formatExtension(OID.basicConstraints, true, sequence(integer(0)))] },
    ],
    ['a key usage of nothing', { extensions: [formatExtension(OID.keyUsage, true, bitString(Buffer.alloc(0)))] }],
    ['an empty subjectAltName', { extensions: [formatExtension(OID.subjectAltName, true, sequence())] }],
    [
      'a NUL in a DNS name',
      { extensions: [formatExtension(OID.subjectAltName, true, sequence(implicit(2, Buffer.from('a\0b'))))] },
    ],
    [
      'an IP address of 5 octets',
      { extensions: [formatExtension(OID.subjectAltName, true, sequence(implicit(7, Buffer.alloc(5))))] },
    ],
    [
      'critical FALSE written out',
      { extensions: [sequence(oid(OID.keyUsage), boolean(false), octetString(bitString(Buffer.of(0x80), 7)))] },
    ],
  ])('refuses %s', (_what, draft) => {
    const der = formatDraft(draft, key);
    expect(() => parseCertificate(der)).toThrow(PkixError);
  });

  it('refuses a certificate that says two signature algorithms', () => {
    const der = formatDraft({}, key);
    const at = der.lastIndexOf(Buffer.from('06082a8648ce3d040302', 'hex'));
    der[at + 9] = 3;
    expect(() => parseCertificate(der)).toThrow(/two signature algorithms/);
  });

  it('reads dates beyond 2049 and the time of no end', () => {
    const { certificate } = makeCertificate({ notAfter: Date.UTC(9999, 11, 31, 23, 59, 59) });
    expect(certificate.notAfter).toBe(Date.UTC(9999, 11, 31, 23, 59, 59));
    expect(certificate.notBefore).toBe(NOW - DAY);
  });
});

const tbs = (...fields: Buffer[]) => sequence(sequence(...fields));

describe('readSerialNumber', () => {
  it('reads the serial number that parseCertificate reads', () => {
    for (const name of ['a', 'b', 'c']) {
      const { certificate } = makeCertificate({ name, issuer: makeRoot() });
      expect(readSerialNumber(certificate.der)).toBe(certificate.serial);
    }
  });

  const version3 = Buffer.from('a003020102', 'hex');
  it.each([
    ['nothing', Buffer.alloc(0)],
    ['text', Buffer.from('certificate')],
    ['an empty certificate', sequence()],
    ['no version', tbs(integer(5))],
    ['version 2', tbs(Buffer.from('a003020101', 'hex'), integer(5))],
    ['no serial number', tbs(version3)],
    ['a text for a serial number', tbs(version3, octetString(Buffer.of(5)))],
    ['a negative serial number', tbs(version3, Buffer.from('0201ff', 'hex'))],
    ['a serial number with an octet too many', tbs(version3, Buffer.from('02020005', 'hex'))],
    ['a serial number of 21 octets', tbs(version3, integer(Buffer.alloc(21, 1)))],
    ['octets behind its end', Buffer.concat([tbs(version3, integer(5)), Buffer.of(0)])],
    ['64 KiB', Buffer.alloc(64 * 1024 + 1)],
  ])('refuses %s', (_name, der) => {
    expect(() => readSerialNumber(der)).toThrow(PkixError);
  });

  it('refuses every certificate that is cut short', () => {
    const { certificate } = makeCertificate({ name: 'leaf', issuer: makeRoot() });
    for (let length = 0; length < certificate.der.length; length += 1) {
      expect(() => readSerialNumber(certificate.der.subarray(0, length))).toThrow(PkixError);
    }
  });
});
