import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type CsrAttestation,
  formatAttestationAttribute,
  parseAttestationAttribute,
} from '#ca/pkix/attestation-attribute.ts';
import { type CertificateRequest, formatCsr, parseCsr, verifyCsrSignature } from '#ca/pkix/csr.ts';
import { formatCsrAttributes } from '#ca/pkix/csr-attributes.ts';
import { boolean, implicit, octetString, oid, readDer, sequence, setOf, TAG, utf8String } from '#ca/pkix/der.ts';
import { readOid } from '#ca/pkix/der-values.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import { formatEstBody, parseEstBody } from '#gateway/contract/est.ts';
import { KEY_KINDS } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { parseCsrBody } from '#gateway/est/read-csr-body.ts';
import { readCsr, requireOwnName } from '#gateway/operations/read-csr.ts';
import { makeRoot } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { makeEvidence } from '#test/fixtures/ca/software-evidence.ts';
import { makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { fuzzBytesParser, fuzzTextParser } from './fuzz-parser.ts';
import { holdsFor, holdsForAsync } from './fuzz-runs.ts';
import { mutatedBytes } from './mutate-bytes.ts';
import { mutatedDer } from './mutate-der.ts';

const DEVICE = 'pump-1';
const DOMAIN = 'gatehouse.internal';
const evidence = makeEvidence();
const statement = {
  attest: Buffer.from(evidence.attest),
  signature: Buffer.from(evidence.signature),
  publicArea: Buffer.from(evidence.attested),
};
const attestation = formatAttestationAttribute(statement, [makeRoot().certificate.der]);
const uri = sequence(implicit(6, Buffer.from(`spiffe://${DOMAIN}/device/${DEVICE}`)));
const password = sequence(oid(OID.challengePassword), setOf(utf8String('MDEyMzQ1Njc4OWFi')));
const noCa = formatExtension(OID.basicConstraints, true, sequence());
const wishes = sequence(
  oid(OID.extensionRequest),
  setOf(sequence(noCa, formatExtension('2.5.29.99', false, Buffer.of(5, 0)))),
);

const csrs = await Promise.all([
  makeCsr(makeKey()),
  makeCsr(makeKey('ec-p384'), { commonName: DEVICE, subjectAltName: uri, attributes: [password] }),
  makeCsr(makeKey('ed25519'), { attributes: [attestation] }),
  makeCsr(makeKey('rsa-2048'), { commonName: DEVICE, attributes: [wishes, attestation] }),
]);

function isOriginal(bytes: Buffer): boolean {
  return csrs.some((csr) => csr.equals(bytes));
}

fuzzBytesParser<CertificateRequest>({
  name: 'parseCsr',
  valid: csrs,
  mutated: [mutatedDer(csrs), mutatedDer(csrs)],
  parse: parseCsr,
  refusesWith: PkixError,
  holds: (request, bytes) => {
    expect(request.der).toEqual(bytes);
    expect(request.keyDescription).toMatch(/^[ -~]{1,300}$/);
    expect(request.challengePassword?.length ?? 0).toBeLessThanOrEqual(255);
    // Proof of possession covers every octet: nothing that was changed is still signed.
    expect(verifyCsrSignature(request)).toBe(isOriginal(bytes));
  },
});

fuzzBytesParser({
  name: 'readCsr and requireOwnName',
  valid: csrs,
  mutated: [mutatedDer(csrs)],
  parse: (bytes) => {
    const { request } = readCsr(bytes, { keys: [...KEY_KINDS] });
    requireOwnName(request, DEVICE, DOMAIN);
    return request;
  },
  refusesWith: GatewayError,
  holds: (_request, bytes) => expect(isOriginal(bytes)).toBe(true),
});

describe('a CSR that is signed as it stands', () => {
  const key = makeKey();
  const extension = fc
    .tuple(fc.constantFrom(...Object.values(OID)), fc.boolean(), fc.uint8Array({ maxLength: 8 }))
    .map(([type, critical, value]) => formatExtension(type, critical, value));
  const known = fc.constantFrom(noCa, formatExtension(OID.basicConstraints, true, sequence(boolean(true))));
  const request = fc.array(fc.oneof(extension, known), { maxLength: 3 });
  const subject = fc.oneof(
    mutatedDer([formatName({ commonName: DEVICE })]),
    fc.constantFrom(sequence(), formatName({ commonName: DEVICE }), formatName({ commonName: 'pump-2' })),
  );
  const alternativeName = fc.oneof(mutatedDer([uri]), fc.constant(uri));

  it('is refused with a reason of the gateway, or asks for its own name and no CA', async () => {
    const wish = fc.tuple(subject, request, alternativeName);
    await holdsForAsync(600, wish, async ([name, extensions, names]) => {
      const csr = await formatCsr({
        subject: name,
        publicKey: key.spki,
        attributes: [
          sequence(
            oid(OID.extensionRequest),
            setOf(sequence(formatExtension(OID.subjectAltName, false, names), ...extensions)),
          ),
        ],
        sign: (message) => signMessage('ecdsa-sha256', message, key.privateKey),
        signatureAlgorithm: 'ecdsa-sha256',
      });
      try {
        const accepted = readCsr(csr, { keys: ['ec-p256'] });
        requireOwnName(accepted.request, DEVICE, DOMAIN);
        expect(accepted.request.asksForCa).toBe(false);
        expect(csr.includes('pump-2')).toBe(false);
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error;
      }
    });
  });
});

/** The attributes of a CSR with this one, as parseCsr hands them on. */
function attributesOf(attribute: Buffer): Map<string, Buffer[]> {
  const [type, values] = readDer(attribute).children();
  if (type === undefined || values === undefined) throw new PkixError('MALFORMED', 'no attribute');
  return new Map([[readOid(type, 'a type'), values.children().map(({ raw }) => raw)]]);
}

fuzzBytesParser<CsrAttestation>({
  name: 'parseAttestationAttribute',
  valid: [attestation, formatAttestationAttribute(statement)],
  mutated: [mutatedDer([attestation]), mutatedDer([attestation])],
  parse: (bytes) => parseAttestationAttribute(attributesOf(bytes)),
  refusesWith: PkixError,
  holds: ({ certificates, ...read }) => {
    const again = parseAttestationAttribute(attributesOf(formatAttestationAttribute(read, certificates)));
    expect(again).toEqual({ ...read, certificates });
  },
});

describe('the attestation attribute', () => {
  it('comes back as it was written', () => {
    const octets = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    const certificates = fc.array(
      octets.map((bytes) => sequence(octetString(bytes))),
      { maxLength: 8 },
    );
    const made = fc.record({ attest: octets, signature: octets, publicArea: octets, certificates });
    holdsFor(300, made, ({ certificates, ...written }) => {
      const read = parseAttestationAttribute(attributesOf(formatAttestationAttribute(written, certificates)));
      expect(read).toEqual({ ...written, certificates });
    });
  });
});

describe('CSR attributes', () => {
  it('come back as they were written', () => {
    const types = fc.constantFrom(...Object.values(OID));
    const items = fc.array(
      fc.record(
        {
          oid: types,
          values: fc.array(
            types.map((type) => oid(type)),
            { maxLength: 3 },
          ),
        },
        { requiredKeys: ['oid'] },
      ),
      { maxLength: 6 },
    );
    holdsFor(300, items, (written) => {
      const read = readDer(formatCsrAttributes(written)).children();
      const types = read.map((item) => (item.tag === TAG.oid ? item : (item.children()[0] ?? item)));
      expect(types.map((type) => readOid(type, 'a type'))).toEqual(written.map((item) => item.oid));
    });
  });
});

fuzzTextParser({
  name: 'parseEstBody',
  valid: csrs.flatMap((csr) => [formatEstBody(csr), formatEstBody(csr, { lines: true })]),
  parse: parseEstBody,
  holds: (der, text) => {
    expect(parseEstBody(formatEstBody(der))).toEqual(der);
    // No character was passed over but white space, and none was added.
    expect(der.length).toBe(Buffer.from(text.replace(/[\r\n \t]/g, ''), 'base64').length);
    expect(text).toMatch(/^[A-Za-z0-9+/=\r\n \t]+$/);
  },
});

fuzzBytesParser({
  name: 'parseCsrBody',
  valid: csrs.map((csr) => Buffer.from(formatEstBody(csr))),
  mutated: [mutatedBytes(csrs.map((csr) => Buffer.from(formatEstBody(csr, { lines: true }))))],
  parse: parseCsrBody,
  refusesWith: GatewayError,
  holds: ({ csr }) => expect(csr.length).toBeGreaterThan(0),
});
