import { createPublicKey, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { nameOf, parsePublicArea } from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { AK_ATTRIBUTES, DEVICE_KEY_ATTRIBUTES } from '#ca/tpm2/templates.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';

const NOW = Date.UTC(2026, 6, 1);
const maker = createSimulatedMaker(NOW);
const chainOf = (from: ReturnType<typeof createSimulatedMaker>, at = NOW) => ({
  intermediates: [parseCertificate(from.issuerCertificate)],
  anchors: [parseCertificate(from.rootCertificate)],
  at,
  extendedKeyUsage: OID.ekCertificate,
});

describe.each<[EndorsementKind, string]>([
  ['rsa-2048', 'keyEncipherment'],
  ['ec-p256', 'keyAgreement'],
  ['ec-p384', 'keyAgreement'],
])('a TPM in memory with an endorsement key of %s', (ek, keyUsage) => {
  const tpm = createSimulatedTpm(maker, { ek });
  const certificate = parseCertificate(tpm.ekCertificate);

  it('has a certificate of its maker that never ends', () => {
    expect(validatePath(certificate, chainOf(maker, Date.UTC(2040, 0, 1)))).toHaveLength(3);
    expect(certificate.notAfter).toBe(Date.UTC(9999, 11, 31, 23, 59, 59));
  });

  it('has a certificate that another maker does not vouch for', () => {
    expect(() => validatePath(certificate, chainOf(createSimulatedMaker(NOW)))).toThrow(
      expect.objectContaining({ code: 'CHAIN_INVALID' }),
    );
  });

  it('has a certificate of the profile: empty subject, critical directory name, one purpose', () => {
    expect(certificate.subject.toString('hex')).toBe('3000');
    expect(certificate.extensions.get(OID.subjectAltName)).toMatchObject({ critical: true });
    const names = new X509Certificate(tpm.ekCertificate).subjectAltName ?? '';
    for (const name of ['Manufacturer=id:53494D55', 'Model=Simulated', 'Version=id:00010000'])
      expect(names).toContain(`tcg-at-tpm${name}`);
    expect(certificate).toMatchObject({
      isCa: false,
      keyUsage: new Set([keyUsage]),
      extendedKeyUsage: [OID.ekCertificate],
    });
  });

  it('shows the endorsement key of that certificate', () => {
    expect(formatSpki(parsePublicArea(tpm.ekPublic))).toEqual(certificate.publicKey);
  });
});

describe('the keys of a TPM in memory', () => {
  const tpm = createSimulatedTpm(maker);

  it('have Names and attributes as a TPM gives them', () => {
    const key = tpm.createDeviceKey();
    for (const { publicArea, name, spki } of [tpm.ak, key]) {
      expect(nameOf(parsePublicArea(publicArea))).toEqual(name);
      expect(formatSpki(parsePublicArea(publicArea))).toEqual(spki);
    }
    expect(parsePublicArea(tpm.ak.publicArea).attributes).toEqual(AK_ATTRIBUTES);
    expect(parsePublicArea(key.publicArea).attributes).toEqual(DEVICE_KEY_ATTRIBUTES);
    expect(createPublicKey(key.privateKey).export({ type: 'spki', format: 'der' })).toEqual(key.spki);
  });

  it('are certified by their own TPM alone', () => {
    const foreign = createSimulatedTpm(maker).createDeviceKey();
    expect(() => tpm.certify(foreign, Buffer.alloc(32))).toThrow(expect.objectContaining({ code: 'HANDLE' }));
  });
});
