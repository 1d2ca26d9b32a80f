import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAttestationAttribute, parseAttestationAttribute } from '#ca/pkix/attestation-attribute.ts';
import { formatCsr, parseCsr } from '#ca/pkix/csr.ts';
import { type Der, integer, octetString, oid, readDer, sequence, tlv, utf8String } from '#ca/pkix/der.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import { makeRoot } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';

const statement = { attest: Buffer.of(1), signature: Buffer.of(2), publicArea: Buffer.of(3) };
const certificate = makeRoot().certificate.der;
const key = makeKey();

function csrWith(...attributes: Uint8Array[]): Promise<Der> {
  return formatCsr({
    subject: formatName({ commonName: 'pump-1' }),
    publicKey: key.spki,
    attributes,
    sign: (message) => signMessage('ecdsa-sha256', message, key.privateKey),
    signatureAlgorithm: 'ecdsa-sha256',
  });
}

const parse = (...values: Buffer[]) => parseAttestationAttribute(new Map([[OID.aaAttestation, values]]));
const octets = [statement.attest, statement.signature, statement.publicArea].map((bytes) => octetString(bytes));
const certify = sequence(...octets);
const bundle = (inner: Der, ...rest: Der[]) => sequence(sequence(inner), ...rest);
const stated = (value: Der, ...rest: Der[]) => sequence(oid(OID.attestCertify), value, ...rest);

describe('the attestation attribute', () => {
  it('survives a CSR', async () => {
    const csr = parseCsr(await csrWith(formatAttestationAttribute(statement)));
    expect(parseAttestationAttribute(csr.attributes)).toEqual({ ...statement, certificates: [] });
  });

  it('carries certificates', async () => {
    const csr = parseCsr(await csrWith(formatAttestationAttribute(statement, [certificate])));
    expect(parseAttestationAttribute(csr.attributes)?.certificates).toEqual([certificate]);
  });

  it('is not there in an ordinary CSR', async () => {
    expect(parseAttestationAttribute(parseCsr(await csrWith()).attributes)).toBeUndefined();
  });

  it('starts with the identifiers of its documents', () => {
    const text = formatAttestationAttribute(statement).toString('hex');
    expect(text).toContain('060b2a864886f70d010910023b');
    expect(text).toContain('06056781051401');
  });

  it('stands in a CSR once', async () => {
    const attribute = formatAttestationAttribute(statement);
    const twice = await csrWith(attribute, attribute);
    expect(() => parseCsr(twice)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
  });

  it('passes over a certificate of another format', () => {
    const other = tlv(0xa3, oid('1.2.3'), octetString(Buffer.of(1)));
    expect(parse(bundle(stated(certify), sequence(certificate, other)))?.certificates).toEqual([certificate]);
  });

  it.each<[string, string, Buffer[]]>([
    ['no value', 'MALFORMED', []],
    ['two values', 'MALFORMED', [bundle(stated(certify)), bundle(stated(certify))]],
    ['no statement', 'MALFORMED', [sequence(sequence())]],
    ['two statements', 'UNSUPPORTED', [sequence(sequence(stated(certify), stated(certify)))]],
    ['a hint as third field of a statement', 'MALFORMED', [bundle(stated(certify, utf8String('verifier')))]],
    ['a statement without value', 'MALFORMED', [bundle(sequence(oid(OID.attestCertify)))]],
    ['a statement of another type', 'UNSUPPORTED', [bundle(sequence(oid('2.23.133.20.2'), certify))]],
    ['a statement without the public area', 'MALFORMED', [bundle(stated(sequence(...octets.slice(0, 2))))]],
    ['four octet strings', 'MALFORMED', [bundle(stated(sequence(...octets, octetString(Buffer.of(4)))))]],
    [
      'another type in place of an octet string',
      'MALFORMED',
      [bundle(stated(sequence(integer(1), ...octets.slice(1))))],
    ],
    ['an empty list of certificates', 'MALFORMED', [bundle(stated(certify), sequence())]],
    ['nine certificates', 'MALFORMED', [bundle(stated(certify), sequence(...Array<Buffer>(9).fill(certificate)))]],
    ['an attribute certificate (v1)', 'UNSUPPORTED', [bundle(stated(certify), sequence(tlv(0xa1, integer(1))))]],
    ['an attribute certificate (v2)', 'UNSUPPORTED', [bundle(stated(certify), sequence(tlv(0xa2, integer(1))))]],
    ['a third field in the bundle', 'MALFORMED', [bundle(stated(certify), sequence(certificate), integer(1))]],
  ])('is refused with %s', (_what, code, values) => {
    expect(() => parse(...values)).toThrow(expect.objectContaining({ code }));
  });

  it('throws nothing but PkixError on spoilt octets', () => {
    const value = readDer(formatAttestationAttribute(statement, [certificate]))
      .children()[1]
      ?.children()[0]?.raw;
    const valid = value ?? Buffer.alloc(0);
    expect(() => parse(valid)).not.toThrow();
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.nat(255), fc.option(fc.nat(valid.length)), (at, octet, cut) => {
        const bytes = Buffer.from(valid);
        bytes[at] = octet;
        try {
          parse(cut === null ? bytes : bytes.subarray(0, cut));
        } catch (error) {
          if (!(error instanceof PkixError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});
