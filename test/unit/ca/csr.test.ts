import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import * as pkijs from 'pkijs';
import { describe, expect, it } from 'vitest';
import { type CsrTemplate, formatCsr, parseCsr, verifyCsrSignature } from '#ca/pkix/csr.ts';
import { formatCsrAttributes } from '#ca/pkix/csr-attributes.ts';
import {
  bitString,
  boolean,
  type Der,
  implicit,
  integer,
  oid,
  printableString,
  sequence,
  setOf,
  utf8String,
} from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import type { KeyKind } from '#ca/pkix/public-key.ts';
import { signatureAlgorithmFor, signMessage } from '#ca/pkix/signature-algorithm.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';

function draft(kind: KeyKind, more: Partial<CsrTemplate> = {}): CsrTemplate {
  const key = makeKey(kind);
  const signatureAlgorithm = signatureAlgorithmFor(kind);
  return {
    subject: formatName({ commonName: 'pump-1' }),
    publicKey: key.spki,
    sign: (message) => signMessage(signatureAlgorithm, message, key.privateKey),
    signatureAlgorithm,
    ...more,
  };
}

const requestExtensions = (...extensions: Der[]) => sequence(oid(OID.extensionRequest), setOf(sequence(...extensions)));
const challenge = (value: Der) => sequence(oid(OID.challengePassword), setOf(value));

describe('CSR', () => {
  it.each(['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048'] as const)(
    'of %s is written, read and checked',
    async (kind) => {
      const subjectAltName = sequence(implicit(6, Buffer.from('spiffe://a/device/pump-1')));
      const der = await formatCsr(draft(kind, { subjectAltName, attributes: [challenge(printableString('secret'))] }));
      const csr = parseCsr(der);
      expect(csr.keyKind).toBe(kind);
      expect(csr.subject).toEqual(formatName({ commonName: 'pump-1' }));
      expect(csr.subjectAltName).toEqual(subjectAltName);
      expect(csr.challengePassword).toBe('secret');
      expect(csr.asksForCa).toBe(false);
      expect(verifyCsrSignature(csr)).toBe(true);
    },
  );

  it('is read and verified by @peculiar/x509 and pkijs', async () => {
    const subjectAltName = sequence(implicit(6, Buffer.from('spiffe://a/device/pump-1')));
    const der = await formatCsr(draft('ec-p256', { subjectAltName }));
    const request = new peculiar.Pkcs10CertificateRequest(der);
    expect(request.subject).toBe('CN=pump-1');
    expect(await request.verify()).toBe(true);
    const names = request.extensions.find((extension) => extension.type === OID.subjectAltName);
    expect(Buffer.from(names?.value ?? new ArrayBuffer())).toEqual(subjectAltName);
    expect(await pkijs.CertificationRequest.fromBER(der).verify()).toBe(true);
  });

  it('made by @peculiar/x509 is read', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const request = await peculiar.Pkcs10CertificateRequestGenerator.create({
      name: 'CN=x, O=y',
      keys,
      signingAlgorithm: algorithm,
      extensions: [new peculiar.BasicConstraintsExtension(true, 1, true)],
    });
    const csr = parseCsr(Buffer.from(request.rawData));
    expect(csr.asksForCa).toBe(true);
    expect(verifyCsrSignature(csr)).toBe(true);
  });

  it('with a wrong signature is told', async () => {
    const der = await formatCsr(draft('ec-p256', { sign: () => Buffer.from('3006020101020101', 'hex') }));
    expect(verifyCsrSignature(parseCsr(der))).toBe(false);
  });

  it('signed by another key is told', async () => {
    const der = await formatCsr(draft('ec-p256', { publicKey: makeKey().spki }));
    expect(verifyCsrSignature(parseCsr(der))).toBe(false);
  });

  it('with an algorithm that is not on the list is told, although the signature is right', async () => {
    const der = await formatCsr(draft('ec-p256'));
    // ecdsa-with-SHA256 becomes an algorithm that does not exist; the signed octets do not change.
    const at = der.lastIndexOf(Buffer.from('2a8648ce3d040302', 'hex'));
    der[at + 7] = 9;
    expect(verifyCsrSignature(parseCsr(der))).toBe(false);
  });

  it.each([
    ['CA:TRUE', formatExtension(OID.basicConstraints, true, sequence(boolean(true)))],
    ['keyCertSign', formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x04), 2))],
    ['cRLSign', formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x02), 1))],
  ])('that asks for %s is told', async (_what, extension) => {
    const csr = parseCsr(await formatCsr(draft('ec-p256', { attributes: [requestExtensions(extension)] })));
    expect(csr.asksForCa).toBe(true);
  });

  it.each([
    [
      'two lists of extensions',
      [
        requestExtensions(formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x80), 7))),
        requestExtensions(formatExtension(OID.keyUsage, false, bitString(Buffer.of(0x80), 7))),
      ],
    ],
    ['two values of one attribute', [sequence(oid(OID.challengePassword), setOf(utf8String('a'), utf8String('b')))]],
    ['a challenge that is a number', [challenge(integer(1))]],
    ['a challenge of 256 characters', [challenge(utf8String('x'.repeat(256)))]],
    [
      'garbage for basicConstraints',
      [requestExtensions(formatExtension(OID.basicConstraints, true, Buffer.from('0101', 'hex')))],
    ],
  ])('with %s is refused', async (_what, attributes) => {
    const der = await formatCsr(draft('ec-p256', { attributes }));
    expect(() => parseCsr(der)).toThrow(PkixError);
  });

  it('above 64 KiB is refused', () => {
    expect(() => parseCsr(sequence(Buffer.alloc(65_536)))).toThrow(/too large/);
  });

  it('without the empty attributes some clients leave out is read', () => {
    const { spki, privateKey } = makeKey();
    const info = sequence(integer(0), formatName({ commonName: 'x' }), spki);
    const der = sequence(
      info,
      sequence(oid(OID.ecdsaWithSha256)),
      bitString(signMessage('ecdsa-sha256', info, privateKey)),
    );
    expect(verifyCsrSignature(parseCsr(der))).toBe(true);
  });
});

describe('CSR attributes', () => {
  it('are the vector of RFC 9908 5.2', () => {
    const der = formatCsrAttributes([
      { oid: OID.challengePassword },
      { oid: OID.ecPublicKey, values: [oid(OID.secp384r1)] },
      { oid: '1.3.6.1.1.1.1.22' },
      { oid: OID.ecdsaWithSha384 },
    ]);
    const vector = 'MDIGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgcrBgEBAQEWBggqhkjOPQQDAw==';
    expect(der.toString('base64')).toBe(vector);
  });

  it('of nothing are an empty list', () => {
    expect(formatCsrAttributes([]).toString('base64')).toBe('MAA=');
  });
});
