import { describe, expect, it } from 'vitest';
import { describeIssuer } from '#ca/issuance/issuer.ts';
import { lintCertificate, type Ordered } from '#ca/issuance/lint-certificate.ts';
import { formatSubjectNames } from '#ca/issuance/subject-names.ts';
import { tbsCertificateFormatter } from '#ca/issuance/tbs-certificate.ts';
import {
  bitString,
  boolean,
  type Der,
  explicit,
  implicit,
  integer,
  nullValue,
  octetString,
  oid,
  sequence,
  time,
  tlv,
} from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { keyIdentifier } from '#ca/pkix/public-key.ts';
import { formatSignatureAlgorithm } from '#ca/pkix/signature-algorithm.ts';
import { DAY, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey, makeRsaKey } from '#test/fixtures/ca/keys.ts';

const { certificate } = makeIntermediate(makeRoot());
const issuer = describeIssuer(certificate, { algorithm: 'ecdsa-sha256', trustDomain: 'gatehouse.internal' });
const publicKey = makeKey().spki;
const ordered: Ordered = { profile: 'device', deviceId: 'pump-1', serial: '1f'.repeat(16), publicKey };

const uri = (text: string) => implicit(6, Buffer.from(text));
const deviceUri = uri('spiffe://gatehouse.internal/device/pump-1');

/** The parts of a right TBSCertificate, by name; a test spoils one of them. */
const right = {
  version: explicit(0, integer(2)),
  serial: integer(Buffer.from('1f'.repeat(16), 'hex')),
  algorithm: formatSignatureAlgorithm('ecdsa-sha256'),
  issuer: certificate.subject,
  validity: sequence(time(NOW), time(NOW + DAY)),
  subject: formatName({ commonName: 'pump-1' }),
  publicKey,
  basicConstraints: formatExtension(OID.basicConstraints, true, sequence()),
  keyUsage: formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x80), 7)),
  extendedKeyUsage: formatExtension(OID.extendedKeyUsage, false, sequence(oid(OID.clientAuth))),
  subjectKeyId: formatExtension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(publicKey))),
  authorityKeyId: formatExtension(
    OID.authorityKeyIdentifier,
    false,
    sequence(implicit(0, Buffer.from(issuer.keyId, 'hex'))),
  ),
  subjectAltName: formatExtension(OID.subjectAltName, false, sequence(deviceUri)),
  more: Buffer.alloc(0),
};

type Parts = Record<keyof typeof right, Buffer>;

function formatParts(parts: Parts): Der {
  const { version, serial, algorithm, validity, subject, publicKey, ...rest } = parts;
  const { issuer, ...extensions } = rest;
  const list = explicit(3, sequence(...Object.values(extensions)));
  return sequence(version, serial, algorithm, issuer, validity, subject, publicKey, list);
}

const nothing = Buffer.alloc(0);
const extension = formatExtension;
const otherKey = makeKey().spki;

describe('lintCertificate', () => {
  it('lets a right one pass, byte for byte what our own formatter writes', () => {
    const tbs = formatParts(right);
    expect(() => lintCertificate(tbs, ordered, issuer)).not.toThrow();
    const written = tbsCertificateFormatter(issuer)({
      profile: 'device',
      serial: ordered.serial,
      names: formatSubjectNames(ordered, issuer.trustDomain),
      publicKey,
      notBefore: NOW,
      notAfter: NOW + DAY,
    });
    expect(written).toEqual(tbs);
  });

  it.each<[string, Partial<Parts>, RegExp]>([
    ['another serial number', { serial: integer(Buffer.from('2f'.repeat(16), 'hex')) }, /not the one ordered/],
    ['a short serial number', { serial: integer(5) }, /not one of ours/],
    ['a serial number of 0', { serial: integer(0) }, /cannot be read back/],
    ['version 1 with extensions', { version: nothing }, /cannot be read back/],
    ['the algorithm of another key', { algorithm: formatSignatureAlgorithm('ed25519') }, /signature algorithm/],
    ['another issuer', { issuer: formatName({ commonName: 'other' }) }, /issuer is not our name/],
    ['an end after its issuer', { validity: sequence(time(NOW), time(NOW + 6 * DAY)) }, /ends after its issuer/],
    [
      'a start before its issuer',
      { validity: sequence(time(NOW - 2 * DAY), time(NOW + DAY)) },
      /begins before its issuer/,
    ],
    ['an end before its start', { validity: sequence(time(NOW + DAY), time(NOW)) }, /ends before it begins/],
    [
      'a GeneralizedTime before 2050',
      { validity: sequence(time(NOW), tlv(0x18, Buffer.from('20260702120000Z'))) },
      /time has the wrong form/,
    ],
    ['another subject', { subject: formatName({ commonName: 'pump-2' }) }, /subject is not the device/],
    [
      'an organization',
      { subject: formatName({ organization: 'x', commonName: 'pump-1' }) },
      /subject is not the device/,
    ],
    ['a hardware serial not ordered', { subject: formatName({ commonName: 'pump-1', serialNumber: '1' }) }, /subject/],
    ['an empty subject', { subject: sequence() }, /subject is not the device/],
    ['another key', { publicKey: otherKey }, /not the one ordered/],
    ['our own key', { publicKey: certificate.publicKey }, /is our own/],
    ['RSA of 1024 bits', { publicKey: makeRsaKey(1024).spki }, /no place for the key RSA 1024/],
    [
      'CA:TRUE',
      { basicConstraints: extension(OID.basicConstraints, true, sequence(boolean(true))) },
      /not an end entity/,
    ],
    [
      'basicConstraints not critical',
      { basicConstraints: extension(OID.basicConstraints, false, sequence()) },
      /critical flag/,
    ],
    ['no basicConstraints', { basicConstraints: nothing }, /is missing/],
    ['keyCertSign', { keyUsage: extension(OID.keyUsage, true, bitString(Buffer.of(0x84), 2)) }, /key usage/],
    [
      'keyUsage not critical',
      { keyUsage: extension(OID.keyUsage, false, bitString(Buffer.of(0x80), 7)) },
      /critical flag/,
    ],
    ['no keyUsage', { keyUsage: nothing }, /is missing/],
    [
      'serverAuth',
      { extendedKeyUsage: extension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth))) },
      /purposes are not those/,
    ],
    [
      'one purpose more',
      { extendedKeyUsage: extension(OID.extendedKeyUsage, false, sequence(oid(OID.clientAuth), oid(OID.serverAuth))) },
      /purposes are not those/,
    ],
    ['no purpose', { extendedKeyUsage: nothing }, /is missing/],
    [
      'the key id of another key',
      { subjectKeyId: extension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(otherKey))) },
      /subject key id/,
    ],
    [
      'the authority key id of another issuer',
      { authorityKeyId: extension(OID.authorityKeyIdentifier, false, sequence(implicit(0, keyIdentifier(otherKey)))) },
      /authority key id/,
    ],
    ['no authority key id', { authorityKeyId: nothing }, /is missing/],
    [
      'subjectAltName critical',
      { subjectAltName: extension(OID.subjectAltName, true, sequence(deviceUri)) },
      /critical flag/,
    ],
    ['no subjectAltName', { subjectAltName: nothing }, /is missing/],
    [
      'the URI of another device',
      {
        subjectAltName: extension(
          OID.subjectAltName,
          false,
          sequence(uri('spiffe://gatehouse.internal/device/pump-2')),
        ),
      },
      /not the one URI/,
    ],
    [
      'the URI of another trust domain',
      { subjectAltName: extension(OID.subjectAltName, false, sequence(uri('spiffe://evil/device/pump-1'))) },
      /not the one URI/,
    ],
    [
      'a second URI',
      {
        subjectAltName: extension(
          OID.subjectAltName,
          false,
          sequence(deviceUri, uri('spiffe://gatehouse.internal/admin')),
        ),
      },
      /not the one URI/,
    ],
    [
      'an e-mail address',
      { subjectAltName: extension(OID.subjectAltName, false, sequence(deviceUri, implicit(1, Buffer.from('a@b')))) },
      /another kind/,
    ],
    ['an extension twice', { more: right.keyUsage }, /cannot be read back/],
    ['an extension unknown', { more: extension('1.2.3.4', false, nullValue()) }, /does not belong there/],
    [
      'a CRL URL not configured',
      { more: extension(OID.crlDistributionPoints, false, sequence()) },
      /does not belong there/,
    ],
  ])('refuses %s', (_what, spoilt, finding) => {
    const tbs = formatParts({ ...right, ...spoilt });
    expect(() => lintCertificate(tbs, ordered, issuer)).toThrow(finding);
  });

  it("refuses a device's certificate for a claim or a registrar, and theirs for a device", () => {
    const claim: Ordered = { profile: 'device-bootstrap', deviceId: 'pump-1', serial: ordered.serial, publicKey };
    const registrar: Ordered = { profile: 'registrar', name: 'pump-1', serial: ordered.serial, publicKey };
    const tbs = formatParts({ ...right, validity: sequence(time(NOW), time(NOW + 1000)) });
    expect(() => lintCertificate(tbs, ordered, issuer)).not.toThrow();
    expect(() => lintCertificate(tbs, claim, issuer)).toThrow(/not the one URI of the claim/);
    expect(() => lintCertificate(tbs, registrar, issuer)).toThrow(/purposes.*not the one URI of the registrar/);
    const claimUri = uri('spiffe://gatehouse.internal/claim/pump-1');
    const subjectAltName = extension(OID.subjectAltName, false, sequence(claimUri));
    const tbsOfClaim = formatParts({ ...right, subjectAltName });
    expect(() => lintCertificate(tbsOfClaim, ordered, issuer)).toThrow(/not the one URI of the device/);
    // Right but for its life of a day.
    expect(() => lintCertificate(tbsOfClaim, claim, issuer)).toThrow(
      /^the certificate would be wrong: it lives longer/,
    );
  });

  it('refuses octets that are no certificate', () => {
    expect(() => lintCertificate(Buffer.from('no'), ordered, issuer)).toThrow(/cannot be read back/);
  });

  it('refuses a life longer than the profile allows', () => {
    const long = makeIntermediate(makeRoot({ notAfter: NOW + 900 * DAY }), { notAfter: NOW + 900 * DAY });
    const longIssuer = describeIssuer(long.certificate, {
      algorithm: 'ecdsa-sha256',
      trustDomain: 'gatehouse.internal',
    });
    const tbs = tbsCertificateFormatter(longIssuer)({
      profile: 'device',
      serial: ordered.serial,
      names: formatSubjectNames(ordered, 'gatehouse.internal'),
      publicKey,
      notBefore: NOW,
      notAfter: NOW + 401 * DAY,
    });
    expect(() => lintCertificate(tbs, ordered, longIssuer)).toThrow(/lives longer/);
  });

  it('refuses a certificate without the status URLs that are configured', () => {
    const status = describeIssuer(certificate, {
      algorithm: 'ecdsa-sha256',
      trustDomain: 'gatehouse.internal',
      statusUrl: 'http://status.example',
    });
    expect(() => lintCertificate(formatParts(right), ordered, status)).toThrow(/is missing/);
  });

  it('refuses names that a server did not order', () => {
    const server: Ordered = {
      profile: 'gateway-server',
      dnsNames: ['a'],
      ipAddresses: [],
      serial: ordered.serial,
      publicKey,
    };
    const format = tbsCertificateFormatter(issuer);
    const names = formatSubjectNames({ ...server, dnsNames: ['a', 'b'] }, issuer.trustDomain);
    const template = { serial: ordered.serial, names, publicKey, notBefore: NOW, notAfter: NOW + DAY };
    const tbs = format({ ...template, profile: 'gateway-server' });
    expect(() => lintCertificate(tbs, server, issuer)).toThrow(/DNS names/);
    expect(() => lintCertificate(format({ ...template, profile: 'device' }), server, issuer)).toThrow(/purposes/);
  });
});
