import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { makeCredential } from '#ca/tpm2/make-credential.ts';
import { type PublicArea, parsePublicArea } from '#ca/tpm2/public-area.ts';
import { attestationKeyArea, endorsementAreaOf } from '#ca/tpm2/templates.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { makeEccKey } from '#test/fixtures/ca/software-evidence.ts';

const maker = createSimulatedMaker();
const secret = Buffer.alloc(32, 3);
const akName = Buffer.alloc(34, 4);
const random = randomBytes;
const flip = (bytes: Buffer, at: number) => {
  const flipped = Buffer.from(bytes);
  flipped[at] = (flipped[at] ?? 0) ^ 1;
  return flipped;
};

describe.each<EndorsementKind>(['rsa-2048', 'ec-p256', 'ec-p384'])('makeCredential for %s', (ek) => {
  const tpm = createSimulatedTpm(maker, { ek });
  const ekPublic = parsePublicArea(tpm.ekPublic);
  const credential = makeCredential({ ekPublic, akName: tpm.ak.name, secret, random });

  it('is opened by the TPM with this endorsement key and attestation key', () => {
    expect(tpm.activateCredential(credential.credentialBlob, credential.encryptedSecret)).toEqual(secret);
  });

  it('needs no more of the endorsement key than its certificate', () => {
    expect(endorsementAreaOf(parseCertificate(tpm.ekCertificate).publicKey)).toEqual(ekPublic);
  });

  it('is refused when made for another attestation key', () => {
    const other = makeCredential({ ekPublic, akName, secret, random });
    expect(() => tpm.activateCredential(other.credentialBlob, other.encryptedSecret)).toThrow(
      expect.objectContaining({ code: 'INTEGRITY' }),
    );
  });

  it('is refused by another TPM', () => {
    const other = createSimulatedTpm(maker, { ek });
    expect(() => other.activateCredential(credential.credentialBlob, credential.encryptedSecret)).toThrow(
      expect.objectContaining({ name: 'TpmRefusal' }),
    );
  });

  it('is refused when any octet of it has changed', () => {
    for (const { at, part } of [
      ...Array.from(credential.credentialBlob, (_, at) => ({ at, part: 'blob' })),
      ...Array.from({ length: 20 }, (_, i) => ({ at: 7 * i, part: 'secret' })),
    ]) {
      const blob = part === 'blob' ? flip(credential.credentialBlob, at) : credential.credentialBlob;
      const encrypted = part === 'blob' ? credential.encryptedSecret : flip(credential.encryptedSecret, at);
      if (at >= encrypted.length) continue;
      expect(() => tpm.activateCredential(blob, encrypted), `${part} ${at}`).toThrow(
        expect.objectContaining({ name: 'TpmRefusal' }),
      );
    }
  });

  it('never gives the same octets twice', () => {
    const again = makeCredential({ ekPublic, akName: tpm.ak.name, secret, random });
    expect(again.encryptedSecret).not.toEqual(credential.encryptedSecret);
    expect(again.credentialBlob).not.toEqual(credential.credentialBlob);
  });
});

const refusal = (ekPublic: PublicArea) => () => makeCredential({ ekPublic, akName, secret, random });

describe('makeCredential', () => {
  const ekPublic = endorsementAreaOf(makeKey('ec-p256').spki);
  it('refuses a key that is no storage key: the secret would not be bound to a TPM', () => {
    const signing = attestationKeyArea(makeEccKey().point);
    expect(refusal(signing)).toThrow(expect.objectContaining({ code: 'EK_UNSUPPORTED' }));
    const unrestricted = { ...ekPublic, attributes: new Set(['decrypt' as const]) };
    expect(refusal(unrestricted)).toThrow(expect.objectContaining({ code: 'EK_UNSUPPORTED' }));
  });

  it('refuses a point that is not on its curve', () => {
    if (ekPublic.type !== 'ecc') throw new Error('not ECC');
    expect(refusal({ ...ekPublic, y: flip(ekPublic.y, 0) })).toThrow(expect.objectContaining({ code: 'KEY_UNUSABLE' }));
  });

  it('takes secrets of 1 octet up to a digest', () => {
    for (const size of [0, 33]) {
      expect(() => makeCredential({ ekPublic, akName, secret: Buffer.alloc(size), random })).toThrow(RangeError);
    }
    expect(() => makeCredential({ ekPublic, akName, secret: Buffer.alloc(1), random })).not.toThrow();
  });

  it('gives up on a random source that gives no private key', () => {
    expect(() => makeCredential({ ekPublic, akName, secret, random: (size) => Buffer.alloc(size) })).toThrow(
      RangeError,
    );
  });
});

describe('endorsementAreaOf', () => {
  it.each([
    ['Ed25519', makeKey('ed25519').spki],
    ['RSA 3072', makeKey('rsa-3072').spki],
    [
      'P-521',
      generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey.export({ type: 'spki', format: 'der' }) as Buffer,
    ],
    ['no key at all', Buffer.from('3000', 'hex')],
  ])('refuses %s', (_what, spki) => {
    expect(() => endorsementAreaOf(spki)).toThrow(expect.objectContaining({ code: 'EK_UNSUPPORTED' }));
  });
});
