import { describe, expect, it } from 'vitest';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { bitString, boolean, implicit, nullValue, oid, sequence } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { NO_REV_AVAIL } from '#ca/pkix/no-rev-avail.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import type { PkixErrorCode } from '#ca/pkix/pkix-error.ts';
import {
  type CertificateDraft,
  DAY,
  type Made,
  makeCertificate,
  makeIntermediate,
  makeRoot,
  NOW,
} from '#test/fixtures/ca/certificates.ts';
import { computingTime } from '#test/fixtures/processes/computing-time.ts';

const root = makeRoot();
const intermediate = makeIntermediate(root);
const leaf = makeCertificate({ name: 'leaf', issuer: intermediate });

const usual = {
  intermediates: [intermediate.certificate],
  anchors: [root.certificate],
  at: NOW,
  extendedKeyUsage: OID.clientAuth,
};

function refusal(work: () => unknown): PkixErrorCode | 'accepted' {
  try {
    work();
    return 'accepted';
  } catch (error) {
    return (error as { code: PkixErrorCode }).code;
  }
}

describe('validatePath', () => {
  it('finds the way to the root', () => {
    const path = validatePath(leaf.certificate, usual);
    expect(path.map(({ sha256 }) => sha256)).toEqual(
      [leaf, intermediate, root].map(({ certificate }) => certificate.sha256),
    );
  });

  it('ends at the first anchor, root or not', () => {
    const path = validatePath(leaf.certificate, { ...usual, intermediates: [], anchors: [intermediate.certificate] });
    expect(path).toHaveLength(2);
  });

  it('takes an anchor for itself', () => {
    expect(validatePath(root.certificate, { intermediates: [], anchors: [root.certificate] })).toHaveLength(1);
  });

  it('finds the right one of two issuers with one name', () => {
    const namesake = makeRoot();
    const path = validatePath(leaf.certificate, { ...usual, anchors: [namesake.certificate, root.certificate] });
    expect(path.at(-1)?.sha256).toBe(root.certificate.sha256);
  });

  const namesake: Made = makeRoot();
  const notCa = makeCertificate({ name: 'intermediate', issuer: root });
  const noCertSign = makeIntermediate(root, {
    extensions: [
      formatExtension(OID.basicConstraints, true, sequence(boolean(true))),
      formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x02), 1)),
    ],
  });
  const below = makeIntermediate(intermediate, { name: 'below' });
  const strange = formatExtension('1.2.3.4', true, nullValue());
  const constrained = makeIntermediate(root, {
    moreExtensions: [formatExtension(OID.nameConstraints, true, sequence())],
  });
  const uncritical = makeIntermediate(root, {
    moreExtensions: [formatExtension(OID.nameConstraints, false, sequence())],
  });
  const constrainedRoot = makeRoot({ moreExtensions: [formatExtension(OID.nameConstraints, false, sequence())] });

  const statusless = makeIntermediate(root, { moreExtensions: [NO_REV_AVAIL] });
  const url = implicit(6, Buffer.from('http://status.example/'));

  it('takes a leaf without status (RFC 9608) that names its issuer and nothing else', () => {
    const access = sequence(sequence(oid(OID.caIssuers), url));
    const moreExtensions = [NO_REV_AVAIL, formatExtension(OID.authorityInfoAccess, false, access)];
    expect(validatePath(from(intermediate, { moreExtensions }), usual)).toHaveLength(3);
  });

  it.each([
    ['without the intermediate', leaf.certificate, { ...usual, intermediates: [] }, 'CHAIN_INVALID'],
    [
      'to a root of the same name and another key',
      leaf.certificate,
      { ...usual, anchors: [namesake.certificate] },
      'CHAIN_INVALID',
    ],
    ['through an end entity', from(notCa), { ...usual, intermediates: [notCa.certificate] }, 'CHAIN_INVALID'],
    [
      'through a CA without keyCertSign',
      from(noCertSign),
      { ...usual, intermediates: [noCertSign.certificate] },
      'CHAIN_INVALID',
    ],
    [
      'past a path length of 0',
      from(below),
      { ...usual, intermediates: [below.certificate, intermediate.certificate] },
      'CHAIN_INVALID',
    ],
    [
      'of a leaf with a critical extension unknown',
      from(intermediate, { moreExtensions: [strange] }),
      usual,
      'CHAIN_INVALID',
    ],
    [
      'through an intermediate with critical name constraints',
      from(constrained),
      { ...usual, intermediates: [constrained.certificate] },
      'CHAIN_INVALID',
    ],
    [
      'through an intermediate with name constraints that are not critical',
      from(uncritical),
      { ...usual, intermediates: [uncritical.certificate] },
      'CHAIN_INVALID',
    ],
    [
      'to a root with name constraints',
      from(constrainedRoot),
      { ...usual, anchors: [constrainedRoot.certificate] },
      'CHAIN_INVALID',
    ],
    ...(
      [
        ['a place for CRLs', OID.crlDistributionPoints, sequence()],
        ['a place for delta CRLs', OID.freshestCrl, sequence()],
        ['a place for OCSP', OID.authorityInfoAccess, sequence(sequence(oid(OID.ocsp), url))],
      ] as const
    ).map(
      ([what, type, value]) =>
        [
          `of a leaf without status (RFC 9608) that names ${what}`,
          from(intermediate, { moreExtensions: [NO_REV_AVAIL, formatExtension(type, false, value)] }),
          usual,
          'CHAIN_INVALID',
        ] as const,
    ),
    [
      'through an intermediate that says that it has no status (RFC 9608 2)',
      from(statusless),
      { ...usual, intermediates: [statusless.certificate] },
      'CHAIN_INVALID',
    ],
    ['for another purpose', leaf.certificate, { ...usual, extendedKeyUsage: OID.serverAuth }, 'CHAIN_INVALID'],
    ['of a leaf past its end', from(intermediate, { notAfter: NOW - 1000 }), usual, 'OUT_OF_VALIDITY'],
    ['of a leaf before its start', from(intermediate, { notBefore: NOW + 1000 }), usual, 'OUT_OF_VALIDITY'],
    ['when the intermediate is past its end', leaf.certificate, { ...usual, at: NOW + 6 * DAY }, 'OUT_OF_VALIDITY'],
  ] as const)('refuses a path %s', (_what, certificate, options, code) => {
    expect(
      refusal(() =>
        validatePath(certificate, {
          ...options,
          intermediates: [...options.intermediates],
          anchors: [...options.anchors],
        }),
      ),
    ).toBe(code);
  });

  it('counts both ends of the period', () => {
    const { notBefore, notAfter } = leaf.certificate;
    expect(refusal(() => validatePath(leaf.certificate, { ...usual, at: notBefore }))).toBe('accepted');
    expect(refusal(() => validatePath(leaf.certificate, { ...usual, at: notAfter + 999 }))).toBe('accepted');
    expect(refusal(() => validatePath(leaf.certificate, { ...usual, at: notAfter + 1000 }))).toBe('OUT_OF_VALIDITY');
  });

  it('leaves dates alone when there is no trusted clock', () => {
    const { certificate } = makeCertificate({
      issuer: intermediate,
      notAfter: NOW - 100 * DAY,
      notBefore: NOW - 200 * DAY,
    });
    const { at: _at, ...withoutClock } = usual;
    expect(validatePath(certificate, withoutClock)).toHaveLength(3);
  });

  it('refuses a changed certificate', () => {
    const der = Buffer.from(leaf.certificate.der);
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    expect(refusal(() => validatePath(parseCertificate(der), usual))).toBe('CHAIN_INVALID');
  });

  it('gives up on a crowd of issuers with one name', () => {
    const crowd = Array.from({ length: 60 }, () => makeIntermediate(root, { extensions: leafLess }).certificate);
    const started = computingTime();
    expect(refusal(() => validatePath(leaf.certificate, { ...usual, intermediates: crowd }))).toBe('CHAIN_INVALID');
    // To try them all in every order would never end.
    expect(computingTime() - started).toBeLessThan(5_000);
  });
});

/** A CA without key id: only its signature tells it from its namesakes. */
const leafLess = [
  formatExtension(OID.basicConstraints, true, sequence(boolean(true))),
  formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x06), 1)),
];

function from(issuer: Made, draft: CertificateDraft = {}): Certificate {
  return makeCertificate({ name: 'leaf', issuer, ...draft }).certificate;
}
