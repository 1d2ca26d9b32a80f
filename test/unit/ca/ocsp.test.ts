import * as pkijs from 'pkijs';
import { describe, expect, it } from 'vitest';
import { boolean, explicit, integer, nullValue, octetString, oid, sequence } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { formatIssuerIds, parseOcspRequest } from '#ca/revocation/ocsp-request.ts';
import { formatOcspError } from '#ca/revocation/ocsp-response.ts';
import { makeIntermediate, makeRoot } from '#test/fixtures/ca/certificates.ts';

const algorithm = sequence(oid(OID.sha1), nullValue());
const certId = (serial = 7) =>
  sequence(algorithm, octetString(Buffer.alloc(20, 1)), octetString(Buffer.alloc(20, 2)), integer(serial));
const one = sequence(certId());

function request(list: Buffer[], ...rest: Buffer[]): Buffer {
  return sequence(sequence(sequence(...list), ...rest));
}

function withExtension(...parts: Parameters<typeof formatExtension>): Buffer {
  return request([one], explicit(2, sequence(formatExtension(...parts))));
}

const withNonce = (length: number) => withExtension(OID.ocspNonce, false, octetString(Buffer.alloc(length, 9)));

describe('an OCSP request', () => {
  it('is read with its certificates in their order', () => {
    const { certIds, nonce } = parseOcspRequest(request([one, sequence(certId(300))]));
    expect(certIds.map(({ serial }) => serial)).toEqual(['07', '012c']);
    expect(certIds[0]?.der).toEqual(certId());
    expect(certIds[0]?.issuer).toBe(`sha1 ${'01'.repeat(20)} ${'02'.repeat(20)}`);
    expect(nonce).toBeUndefined();
  });

  it.each([16, 17, 32])('has its nonce of %i octets repeated', (length) => {
    expect(parseOcspRequest(withNonce(length)).nonce).toEqual(Buffer.alloc(length, 9));
  });

  it.each([1, 15, 33, 128])('is answered as if it had none, with a nonce of %i octets', (length) => {
    expect(parseOcspRequest(withNonce(length)).nonce).toBeUndefined();
  });

  it.each([
    ['a nonce of no octets', withNonce(0)],
    ['a nonce of 129 octets', withNonce(129)],
    ['a nonce that is no OCTET STRING', withExtension(OID.ocspNonce, false, Buffer.alloc(16))],
    ['a critical extension nobody knows', withExtension('1.2.3.4', true, Buffer.alloc(0))],
    ['no certificate', request([])],
    ['17 certificates', request(Array.from({ length: 17 }, () => one))],
    [
      'a negative serial number',
      request([
        sequence(
          sequence(
            algorithm,
            octetString(Buffer.alloc(20)),
            octetString(Buffer.alloc(20)),
            Buffer.from('0201ff', 'hex'),
          ),
        ),
      ]),
    ],
    ['another version', sequence(sequence(explicit(0, integer(1)), sequence(one)))],
    ['a version written out', sequence(sequence(explicit(0, boolean(true)), sequence(one)))],
    ['octets behind it', Buffer.concat([request([one]), Buffer.of(0)])],
    ['nothing in it', Buffer.alloc(0)],
  ])('is refused with %s', (_what, der) => {
    expect(() => parseOcspRequest(der)).toThrow(PkixError);
  });

  it('may be signed, and is answered all the same', () => {
    const signature = sequence(sequence(oid(OID.ecdsaWithSha256)), Buffer.from('03020000', 'hex'));
    expect(parseOcspRequest(sequence(sequence(sequence(one)), explicit(0, signature))).certIds).toHaveLength(1);
  });

  it('may name a hash that nobody here knows', () => {
    const other = sequence(
      sequence(oid(OID.sha512)),
      octetString(Buffer.alloc(64)),
      octetString(Buffer.alloc(64)),
      integer(1),
    );
    expect(parseOcspRequest(request([sequence(other)])).certIds[0]?.issuer).toMatch(/^unknown /);
  });
});

const hex = (octets: ArrayBuffer) => Buffer.from(octets).toString('hex');

it.each(['SHA-1', 'SHA-256'])('an issuer is named as pkijs names it, with %s', async (hashAlgorithm) => {
  const { certificate } = makeIntermediate(makeRoot());
  const id = new pkijs.CertID();
  const issuerCertificate = pkijs.Certificate.fromBER(certificate.der);
  await id.createForCertificate(issuerCertificate, { hashAlgorithm, issuerCertificate });
  const name = hashAlgorithm === 'SHA-1' ? 'sha1' : 'sha256';
  expect(formatIssuerIds(certificate)).toContain(
    `${name} ${hex(id.issuerNameHash.valueBlock.valueHex)} ${hex(id.issuerKeyHash.valueBlock.valueHex)}`,
  );
});

it('an OCSP error is nothing but its number', () => {
  expect(formatOcspError('malformedRequest').toString('hex')).toBe('30030a0101');
  expect(formatOcspError('unauthorized').toString('hex')).toBe('30030a0106');
});
