import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hashOrder } from '#ca/authority/issue-certificate.ts';
import { describeIssuer } from '#ca/issuance/issuer.ts';
import { lintCertificate, type Ordered } from '#ca/issuance/lint-certificate.ts';
import { formatSubjectNames } from '#ca/issuance/subject-names.ts';
import { tbsCertificateFormatter } from '#ca/issuance/tbs-certificate.ts';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { oid, sequence } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { type CertifiedProofLevel, formatProofPolicies, readProofLevel } from '#ca/pkix/proof-level.ts';
import { deviceOrder, openTestAuthority, serverOrder } from '#test/fixtures/ca/authority.ts';
import { DAY, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';

const LEVELS: readonly CertifiedProofLevel[] = ['tpm', 'tpm-endorsed'];

function withPolicies(...policies: string[]): Parameters<typeof readProofLevel>[0] {
  const value = sequence(...policies.map((policy) => sequence(oid(policy))));
  return { extensions: new Map([[OID.certificatePolicies as string, { critical: false, value }]]) };
}

function level(proofLevel: CertifiedProofLevel | undefined): { proofLevel?: CertifiedProofLevel } {
  return proofLevel === undefined ? {} : { proofLevel };
}

describe('the proof level of a key', () => {
  it.each(LEVELS)('%s stands in the certificate as policies that nobody has to understand', async (proofLevel) => {
    const { authority } = await openTestAuthority();
    const certificate = parseCertificate(await authority.issue(deviceOrder({ proofLevel })));
    expect(readProofLevel(certificate)).toBe(proofLevel);
    const policies = certificate.extensions.get(OID.certificatePolicies);
    expect(policies).toEqual({ critical: false, value: formatProofPolicies(proofLevel) });
    const residencyAndFixedTpm = '300806066781050b0101300806066781050b0102';
    expect(policies?.value.toString('hex')).toContain(residencyAndFixedTpm);
  });

  it('of a software key is not mentioned', async () => {
    const { authority } = await openTestAuthority();
    const certificate = parseCertificate(await authority.issue(deviceOrder()));
    expect(certificate.extensions.has(OID.certificatePolicies)).toBe(false);
    expect(readProofLevel(certificate)).toBe('software');
  });

  it('is not read out of half of its policies, nor out of our own alone', () => {
    expect(readProofLevel(withPolicies(OID.tpmResidencyVerified))).toBe('software');
    expect(readProofLevel(withPolicies(OID.gatehouseTpmEndorsed))).toBe('software');
    expect(readProofLevel(withPolicies(OID.tpmFixedTpmVerified, OID.tpmResidencyVerified))).toBe('tpm');
  });

  it('is part of what was ordered: the same serial for another level is refused', async () => {
    const { authority } = await openTestAuthority();
    const order = deviceOrder({ proofLevel: 'tpm' });
    await authority.issue(order);
    await expect(authority.issue({ ...order, proofLevel: 'tpm-endorsed' } as typeof order)).rejects.toMatchObject({
      code: 'SERIAL_REUSED',
    });
  });

  it('leaves the hash of an order without one as it was before there were levels', () => {
    const order = deviceOrder({ hardwareSerial: 'AB 1' });
    const before = [order.serial, 'device', order.publicKey.toString('base64'), 3600, 'pump-1', 'AB 1'];
    expect(hashOrder(order)).toBe(hash('sha256', JSON.stringify(before), 'hex'));
  });
});

describe('lintCertificate', () => {
  const { certificate } = makeIntermediate(makeRoot());
  const issuer = describeIssuer(certificate, { algorithm: 'ecdsa-sha256', trustDomain: 'gatehouse.internal' });
  const publicKey = makeKey().spki;
  const ordered: Ordered = { profile: 'device', deviceId: 'pump-1', serial: '1f'.repeat(16), publicKey };

  it.each<[CertifiedProofLevel | undefined, CertifiedProofLevel | undefined]>([
    [undefined, 'tpm'],
    ['tpm', undefined],
    ['tpm', 'tpm-endorsed'],
    ['tpm-endorsed', 'tpm'],
  ])('refuses a certificate that says %s where %s was ordered', (written, wanted) => {
    const names = formatSubjectNames(ordered, issuer.trustDomain);
    const template = { profile: 'device', serial: ordered.serial, names, publicKey } as const;
    const tbs = tbsCertificateFormatter(issuer)({
      ...template,
      notBefore: NOW,
      notAfter: NOW + DAY,
      ...level(written),
    });
    expect(() => lintCertificate(tbs, { ...ordered, ...level(wanted) }, issuer)).toThrow(/polic|2\.5\.29\.32/);
    expect(() => lintCertificate(tbs, { ...ordered, ...level(written) }, issuer)).not.toThrow();
  });

  it('refuses policies in a certificate of another profile', async () => {
    const { authority } = await openTestAuthority();
    const order = { ...serverOrder(), proofLevel: 'tpm' } as ReturnType<typeof serverOrder>;
    const certificate = parseCertificate(await authority.issue(order));
    expect(readProofLevel(certificate)).toBe('software');
  });
});
