import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { verifyCaCertificates } from '#device-agent/operations/first-contact.ts';
import { DAY, makeCertificate, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';

const root = makeRoot();
const intermediate = makeIntermediate(root).certificate.der;
const pinned = hash('sha256', root.certificate.der, 'hex');

describe('what /cacerts answers (RFC 7030 4.1.3)', () => {
  it('counts as far as it has a path to the certificate that was pinned, in any order', () => {
    const found = verifyCaCertificates([intermediate, root.certificate.der], pinned, NOW);
    expect(found).toEqual({ root: root.certificate.der, intermediates: [intermediate] });
  });

  it('gives nothing to a certificate for being self-signed and there, nor to what it has issued', () => {
    const stranger = makeRoot();
    const below = makeIntermediate(stranger).certificate.der;
    const offered = [
      stranger.certificate.der,
      below,
      intermediate,
      root.certificate.der,
      Buffer.from('no certificate'),
    ];
    expect(verifyCaCertificates(offered, pinned, NOW).intermediates).toEqual([intermediate]);
  });

  it('gives nothing to a leaf, nor to what has ended', () => {
    const leaf = makeCertificate({ issuer: root }).certificate.der;
    expect(verifyCaCertificates([leaf, intermediate, root.certificate.der], pinned, NOW).intermediates).toEqual([
      intermediate,
    ]);
    const late = NOW + 100 * 366 * DAY;
    expect(verifyCaCertificates([intermediate, root.certificate.der], pinned, late).intermediates).toEqual([]);
    // Without a trusted clock dates are left alone.
    expect(verifyCaCertificates([intermediate, root.certificate.der], pinned, undefined).intermediates).toHaveLength(1);
  });

  it.each([
    ['without the pinned certificate', pinned, [intermediate]],
    ['with one that has its name and another key', pinned, [makeRoot().certificate.der]],
    ['with nothing', pinned, []],
  ])('is refused %s', (_what, sha256, offered) => {
    expect(() => verifyCaCertificates(offered, sha256, NOW)).toThrow(
      expect.objectContaining({ code: 'GATEWAY_UNTRUSTED' }),
    );
  });
});
