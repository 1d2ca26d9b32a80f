import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { formatCertsOnly, parseCertsOnly } from '#ca/pkix/cms.ts';
import { formatCompactJws, parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { formatCsr, parseCsr, verifyCsrSignature } from '#ca/pkix/csr.ts';
import { implicit, sequence } from '#ca/pkix/der.ts';
import { formatName, formatNameText } from '#ca/pkix/name.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { classifyPublicKey } from '#ca/pkix/public-key.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import { formatCrl, formatRevokedEntry, formatTbsCrl } from '#ca/revocation/crl.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import { makeCertificate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';

const root = makeRoot();
const leaf = makeCertificate({ issuer: root });
const key = makeKey();
const csr = await formatCsr({
  subject: formatName({ commonName: 'x', serialNumber: '1' }),
  publicKey: key.spki,
  subjectAltName: sequence(implicit(6, Buffer.from('spiffe://a/b'))),
  sign: (message) => signMessage('ecdsa-sha256', message, key.privateKey),
  signatureAlgorithm: 'ecdsa-sha256',
});
const entry = formatRevokedEntry({ serial: '1f', revokedAt: NOW, reason: 'keyCompromise' });
const tbsCrl = formatTbsCrl({
  issuer: root.certificate.subject,
  signatureAlgorithm: root.certificate.signatureAlgorithm,
  number: 7,
  thisUpdate: NOW,
  nextUpdate: NOW + 1000,
  authorityKeyId: root.certificate.subjectKeyId ?? '',
  entries: entry,
});
const crl = formatCrl(
  tbsCrl,
  root.certificate.signatureAlgorithm,
  signMessage('ecdsa-sha256', tbsCrl, root.key.privateKey),
);

const parsers: [string, Buffer, (bytes: Buffer) => unknown][] = [
  ['parseCertificate', leaf.certificate.der, parseCertificate],
  ['parseCsr', csr, (bytes) => verifyCsrSignature(parseCsr(bytes))],
  ['parseCertsOnly', formatCertsOnly([leaf.certificate.der, root.certificate.der]), parseCertsOnly],
  ['parseCrl', crl, parseCrl],
  ['formatNameText', leaf.certificate.subject, formatNameText],
  ['classifyPublicKey', key.spki, classifyPublicKey],
];

/** One to three octets changed, and perhaps the end cut off. */
function spoil(valid: Buffer): fc.Arbitrary<Buffer> {
  const change = fc.tuple(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 }));
  return fc
    .tuple(fc.array(change, { minLength: 1, maxLength: 3 }), fc.option(fc.nat(valid.length)))
    .map(([changes, cut]) => {
      const bytes = Buffer.from(valid);
      for (const [at, octet] of changes) bytes[at] = octet;
      return cut === null ? bytes : bytes.subarray(0, cut);
    });
}

function throwsOnlyPkixError(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof PkixError)) throw error;
  }
}

describe.each(parsers)('%s', (_name, valid, parse) => {
  it('reads what is right', () => {
    expect(() => parse(valid)).not.toThrow();
  });

  it('throws nothing but PkixError on spoilt octets', () => {
    fc.assert(
      fc.property(spoil(valid), (bytes) => throwsOnlyPkixError(() => parse(bytes))),
      { numRuns: 2000 },
    );
  });

  it('throws nothing but PkixError on random octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => throwsOnlyPkixError(() => parse(Buffer.from(bytes)))),
    );
  });
});

describe('parseCompactJws', () => {
  const jws = formatCompactJws({
    payload: { a: 1 },
    type: 't',
    certificates: [leaf.certificate.der],
    privateKey: key.privateKey,
  });

  it('throws nothing but PkixError on spoilt and random text', () => {
    fc.assert(
      fc.property(spoil(Buffer.from(jws)), fc.string({ maxLength: 100 }), (bytes, text) => {
        throwsOnlyPkixError(() => parseCompactJws(bytes.toString('latin1')));
        throwsOnlyPkixError(() => parseCompactJws(text));
      }),
      { numRuns: 1000 },
    );
  });
});
