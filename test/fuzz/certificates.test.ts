import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Certificate, parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import { formatCertsOnly, parseCertsOnly } from '#ca/pkix/cms.ts';
import { implicit, oid, sequence } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { formatProofPolicies, readProofLevel } from '#ca/pkix/proof-level.ts';
import { classifyPublicKey, describePublicKey, importPublicKey, keyIdentifier } from '#ca/pkix/public-key.ts';
import { readSerialNumber } from '#ca/pkix/read-serial-number.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import { formatCrl, formatRevokedEntry, formatTbsCrl } from '#ca/revocation/crl.ts';
import { parseCrl, verifyCrlSignature } from '#ca/revocation/parse-crl.ts';
import { lintRevokedEntries, readRevokedEntries } from '#ca/revocation/revoked-entries.ts';
import {
  ekPublicKeyOf,
  judgeEkPath,
  parseEkCertificate,
  requireEkProfile,
} from '#gateway/domain/attestation/endorsement.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import { DAY, makeCertificate, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { fuzzBytesParser } from './fuzz-parser.ts';
import { holdsFor } from './fuzz-runs.ts';
import { mutatedBytes, randomOctets } from './mutate-bytes.ts';
import { mutatedDer } from './mutate-der.ts';

const root = makeRoot();
const intermediate = makeIntermediate(root);
const rsaRoot = makeRoot({ name: 'rsa', key: makeKey('rsa-2048') });
const names = sequence(
  implicit(6, Buffer.from('spiffe://gatehouse.internal/device/pump-1')),
  implicit(2, Buffer.from('pump-1.example')),
  implicit(7, Buffer.from([127, 0, 0, 1])),
);
const leaf = makeCertificate({
  issuer: intermediate,
  moreExtensions: [
    formatExtension(OID.subjectAltName, true, names),
    formatExtension(OID.certificatePolicies, false, formatProofPolicies('tpm-endorsed')),
  ],
});
const rsaLeaf = makeCertificate({ issuer: rsaRoot });
const edLeaf = makeCertificate({ key: makeKey('ed25519') });
const all = [root, intermediate, leaf, rsaLeaf, edLeaf].map(({ certificate }) => certificate);
const issuers = [root, intermediate, rsaRoot, edLeaf].map(({ certificate }) => certificate.publicKey);
const ders = all.map(({ der }) => der);

function isOneOf(originals: readonly Buffer[], bytes: Buffer): boolean {
  return originals.some((original) => original.equals(bytes));
}

fuzzBytesParser<Certificate>({
  name: 'parseCertificate',
  valid: ders,
  mutated: [mutatedDer(ders), mutatedDer(ders)],
  parse: parseCertificate,
  refusesWith: PkixError,
  holds: (certificate, bytes) => {
    expect(certificate.der).toEqual(bytes);
    expect(Number.isSafeInteger(certificate.notBefore) && Number.isSafeInteger(certificate.notAfter)).toBe(true);
    for (const name of [...certificate.uris, ...certificate.dnsNames]) expect(name).toMatch(/^[!-~]*$/);
    if (certificate.extensions.size > 0) expect(readSerialNumber(bytes)).toBe(certificate.serial);
    // Whatever was changed, no issuer has signed it.
    const isSigned = issuers.some((issuer) => verifyCertificateSignature(certificate, issuer));
    expect(isSigned).toBe(isOneOf(ders, bytes));
    checkProofLevel(certificate);
  },
});

function checkProofLevel(certificate: Certificate): void {
  try {
    expect(['software', 'tpm', 'tpm-endorsed']).toContain(readProofLevel(certificate));
  } catch (error) {
    expect(error).toBeInstanceOf(PkixError);
  }
}

fuzzBytesParser({
  name: 'readSerialNumber',
  valid: ders,
  mutated: [mutatedDer(ders)],
  parse: readSerialNumber,
  refusesWith: PkixError,
  holds: (serial) => expect(serial).toMatch(/^([0-9a-f]{2}){1,20}$/),
});

fuzzBytesParser({
  name: 'a path to a trusted root',
  valid: [leaf.certificate.der, intermediate.certificate.der],
  mutated: [mutatedDer([leaf.certificate.der])],
  parse: (bytes) => {
    const intermediates = [intermediate.certificate];
    return validatePath(parseCertificate(bytes), { anchors: [root.certificate], intermediates, at: NOW });
  },
  refusesWith: PkixError,
  holds: (path, bytes) => {
    expect(isOneOf(ders, bytes)).toBe(true);
    expect(path.at(-1)?.der).toEqual(root.certificate.der);
  },
  runs: 600,
});

describe('a path', () => {
  it('is not found through a spoilt intermediate, and the search ends', () => {
    const own = intermediate.certificate.der;
    holdsFor(300, mutatedDer([own]), (bytes) => {
      if (bytes.equals(own)) return;
      const intermediates: Certificate[] = [];
      try {
        // Over and over: what a hostile sender may put beside its leaf.
        intermediates.push(...Array.from({ length: 8 }, () => parseCertificate(bytes)));
      } catch (error) {
        expect(error).toBeInstanceOf(PkixError);
      }
      const find = () => validatePath(leaf.certificate, { anchors: [root.certificate], intermediates, at: NOW });
      expect(find).toThrow(PkixError);
    });
  });
});

const maker = createSimulatedMaker(NOW - DAY);
const ekCertificates = (['ec-p256', 'rsa-2048'] as const).map((ek) => createSimulatedTpm(maker, { ek }).ekCertificate);

fuzzBytesParser({
  name: 'an EK certificate',
  valid: ekCertificates,
  mutated: [mutatedDer(ekCertificates)],
  parse: (bytes) => {
    const certificate = parseEkCertificate(bytes);
    const { manufacturer } = requireEkProfile(certificate);
    return { certificate, manufacturer, spki: ekPublicKeyOf(certificate) };
  },
  refusesWith: GatewayError,
  holds: ({ certificate, manufacturer }, bytes) => {
    expect(manufacturer.length).toBeLessThanOrEqual(64);
    const roots = [parseCertificate(maker.rootCertificate)];
    const intermediates = [parseCertificate(maker.issuerCertificate)];
    const isTrusted = judgeEkPath(certificate, { roots, intermediates }, Date.now()) === undefined;
    expect(isTrusted).toBe(isOneOf(ekCertificates, bytes));
  },
  runs: 800,
});

const messages = [formatCertsOnly(ders), formatCertsOnly([leaf.certificate.der])];

fuzzBytesParser({
  name: 'parseCertsOnly',
  valid: messages,
  mutated: [mutatedDer(messages)],
  parse: parseCertsOnly,
  refusesWith: PkixError,
  holds: (certificates, bytes) => {
    const rewritten = formatCertsOnly(certificates);
    // The one thing that may stand there and means nothing: an empty list of CRLs, which two octets say.
    if (!rewritten.equals(bytes)) expect(bytes.includes(Buffer.from('a100', 'hex'))).toBe(true);
    expect(parseCertsOnly(rewritten)).toEqual(certificates);
  },
});

const entries = [
  formatRevokedEntry({ serial: '1f', revokedAt: NOW, reason: 'keyCompromise' }),
  formatRevokedEntry({ serial: 'ff00ff', revokedAt: NOW - DAY, reason: 'unspecified' }),
  formatRevokedEntry({ serial: '7f'.repeat(16), revokedAt: Date.UTC(2051, 0), reason: 'superseded' }),
];

function makeCrl(list: readonly Buffer[]): Buffer {
  const { subject, signatureAlgorithm, subjectKeyId = '' } = root.certificate;
  const tbs = formatTbsCrl({
    issuer: subject,
    signatureAlgorithm,
    number: 7,
    thisUpdate: NOW,
    nextUpdate: NOW + DAY,
    authorityKeyId: subjectKeyId,
    entries: Buffer.concat(list),
  });
  return formatCrl(tbs, signatureAlgorithm, signMessage('ecdsa-sha256', tbs, root.key.privateKey));
}

const crls = [makeCrl(entries), makeCrl([])];

fuzzBytesParser({
  name: 'parseCrl',
  valid: crls,
  mutated: [mutatedDer(crls), mutatedDer(crls)],
  parse: parseCrl,
  refusesWith: PkixError,
  holds: (crl, bytes) => {
    expect(verifyCrlSignature(crl, root.certificate.publicKey)).toBe(isOneOf(crls, bytes));
    const list = [...crl.revoked].map(([serial, entry]) => formatRevokedEntry({ serial, ...entry }));
    expect(readRevokedEntries(Buffer.concat(list))).toEqual(crl.revoked);
  },
});

fuzzBytesParser({
  name: 'readRevokedEntries',
  valid: [Buffer.concat(entries), ...entries],
  mutated: [mutatedDer(entries)],
  parse: readRevokedEntries,
  refusesWith: PkixError,
  // The authority signs what its lint has counted; devices and the gateway read it.
  holds: (revoked, bytes) => expect(lintRevokedEntries(bytes).count).toBe(revoked.size),
});

const keys = (['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048'] as const).map((kind) => makeKey(kind).spki);

fuzzBytesParser({
  name: 'describePublicKey and keyIdentifier',
  valid: keys,
  mutated: [mutatedDer(keys)],
  parse: (bytes) => ({ ...describePublicKey(bytes), id: keyIdentifier(bytes) }),
  refusesWith: PkixError,
  holds: ({ description, id }) => {
    expect(description).toMatch(/^[ -~]{1,300}$/);
    expect(id.length).toBe(20);
  },
});

fuzzBytesParser({
  name: 'classifyPublicKey',
  valid: keys,
  mutated: [mutatedDer(keys)],
  parse: classifyPublicKey,
  holds: ({ kind }, bytes) => {
    if (kind === undefined) return;
    // A key that may be certified is one that OpenSSL takes, and it is written in the one way there is.
    expect(importPublicKey(bytes).export({ format: 'der', type: 'spki' })).toEqual(bytes);
  },
});

describe('a certificate that another program reads', () => {
  it('has the same serial number, dates and names here', () => {
    const inputs = mutatedDer(ders);
    holdsFor(400, inputs, (bytes) => {
      let ours: Certificate;
      let theirs: X509Certificate;
      try {
        ours = parseCertificate(bytes);
        theirs = new X509Certificate(bytes);
      } catch {
        return;
      }
      expect(BigInt(`0x${theirs.serialNumber}`)).toBe(BigInt(`0x${ours.serial}`));
      expect([theirs.validFromDate.getTime(), theirs.validToDate.getTime()]).toEqual([ours.notBefore, ours.notAfter]);
      expect(theirs.ca).toBe(ours.isCa);
    });
  });

  it('and a public key of no kind, are refused without a crash', () => {
    holdsFor(200, mutatedBytes([...keys, oid('1.2.3')]), (bytes) => void classifyPublicKey(bytes));
    holdsFor(200, randomOctets, (bytes) => expect(classifyPublicKey(bytes).kind).toBeUndefined());
  });
});
