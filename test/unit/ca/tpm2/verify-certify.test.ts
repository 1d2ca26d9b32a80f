import { type KeyObject, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ALGORITHM, HASHES } from '#ca/tpm2/algorithms.ts';
import { ByteWriter } from '#ca/tpm2/byte-writer.ts';
import { parseCertifyResponse } from '#ca/tpm2/certify-command.ts';
import type { ObjectAttribute } from '#ca/tpm2/object-attributes.ts';
import {
  type EccPublicArea,
  formatPublicArea,
  nameOf,
  type PublicArea,
  parsePublicArea,
  parseSizedPublicArea,
} from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import { formatPlainSignature, parseTpmSignature } from '#ca/tpm2/signature.ts';
import { attestationKeyArea } from '#ca/tpm2/templates.ts';
import type { Tpm2ErrorCode } from '#ca/tpm2/tpm-error.ts';
import { type CertifyEvidence, verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import {
  RECORDED_AK,
  RECORDED_DEVICE_KEY,
  RECORDED_FRESHNESS,
  RECORDED_RESPONSE,
  RECORDED_RSA_AK,
  RECORDED_RSA_RESPONSE,
} from '#test/fixtures/ca/recorded-evidence.ts';
import { makeEccKey, makeEvidence, makeRsaArea } from '#test/fixtures/ca/software-evidence.ts';

function refusalOf(evidence: CertifyEvidence): string {
  try {
    verifyCertifyEvidence(evidence);
    return 'accepted';
  } catch (error) {
    return (error as { code: Tpm2ErrorCode }).code;
  }
}

const without = (attribute: ObjectAttribute) => (area: EccPublicArea) => ({
  ...area,
  attributes: new Set([...area.attributes].filter((other) => other !== attribute)),
});
const withAttribute = (attribute: ObjectAttribute) => (area: EccPublicArea) => ({
  ...area,
  attributes: new Set([...area.attributes, attribute]),
});
const flip = (bytes: Uint8Array, at: number) => {
  const flipped = Buffer.from(bytes);
  flipped[at] = (flipped[at] ?? 0) ^ 1;
  return flipped;
};

const start = (bytes: Uint8Array, head: Buffer) => Buffer.concat([head, bytes.subarray(head.length)]);
const onP521 = (area: EccPublicArea): PublicArea => ({ ...area, curve: 'P-521', ...makeEccKey('P-521').point });

/** TPMT_SIGNATURE that says SHA-384. */
function signNamingSha384(message: Buffer, key: KeyObject, digest: 'sha256' | 'sha384'): Buffer {
  const value = sign(digest, message, { key, dsaEncoding: 'ieee-p1363' });
  const writer = new ByteWriter().u16(ALGORITHM.ecdsa).u16(HASHES.sha384.id);
  return writer.sized(value.subarray(0, 32)).sized(value.subarray(32)).toBuffer();
}

const maker = createSimulatedMaker();
const FRESHNESS = Buffer.alloc(32, 9);

function evidenceOfNewTpm() {
  const tpm = createSimulatedTpm(maker);
  const key = tpm.createDeviceKey();
  const qualifyingData = bindEvidence(FRESHNESS, key.spki);
  const evidence: CertifyEvidence = {
    ak: tpm.ak.publicArea,
    expectedAkName: tpm.ak.name,
    attested: key.publicArea,
    ...tpm.certify(key, qualifyingData),
    qualifyingData,
    csrPublicKey: key.spki,
  };
  return { tpm, key, evidence };
}

describe('verifyCertifyEvidence accepts', () => {
  const key = parseSizedPublicArea(RECORDED_DEVICE_KEY);
  const csrPublicKey = formatSpki(key);

  it.each([
    ['ECDSA', RECORDED_AK, RECORDED_RESPONSE],
    ['RSASSA', RECORDED_RSA_AK, RECORDED_RSA_RESPONSE],
  ])('what a TPM certified with %s, the signature in either form', (_scheme, sizedAk, response) => {
    const ak = parseSizedPublicArea(sizedAk);
    const { attest, signature } = parseCertifyResponse(response);
    const evidence = {
      ak: formatPublicArea(ak),
      expectedAkName: nameOf(ak),
      attested: formatPublicArea(key),
      attest,
      signature,
      qualifyingData: bindEvidence(RECORDED_FRESHNESS, csrPublicKey),
      csrPublicKey,
    };
    expect(refusalOf(evidence)).toBe('accepted');
    expect(refusalOf({ ...evidence, signature: formatPlainSignature(parseTpmSignature(signature)) })).toBe('accepted');
  });

  it('what the TPM in memory certifies', () => {
    expect(refusalOf(evidenceOfNewTpm().evidence)).toBe('accepted');
  });

  it('an attestation key on P-384 that signs with SHA-384', () => {
    const { privateKey, point } = makeEccKey('P-384');
    const ak = (area: EccPublicArea): PublicArea => ({
      ...area,
      scheme: { algorithm: 'ecdsa', hash: 'sha384' },
      curve: 'P-384',
      ...point,
    });
    expect(refusalOf(makeEvidence({ ak, signature: (message) => sign('sha384', message, privateKey) }))).toBe(
      'accepted',
    );
    expect(refusalOf(makeEvidence({ ak, signature: (message) => sign('sha256', message, privateKey) }))).toBe(
      'SIGNATURE_INVALID',
    );
  });

  it('a device key on P-521 and one of RSA with 2048 bits', () => {
    expect(refusalOf(makeEvidence({ key: onP521 }))).toBe('accepted');
    expect(refusalOf(makeEvidence({ key: (area) => makeRsaArea(2048, area).area }))).toBe('accepted');
  });
});

describe('verifyCertifyEvidence refuses', () => {
  it.each<[string, Tpm2ErrorCode, (own: ReturnType<typeof evidenceOfNewTpm>) => CertifyEvidence]>([
    [
      'an attestation key of another TPM',
      'AK_NAME_MISMATCH',
      ({ evidence }) => ({ ...evidence, ak: createSimulatedTpm(maker).ak.publicArea }),
    ],
    [
      'a software attestation key swapped in after the challenge',
      'AK_NAME_MISMATCH',
      ({ evidence }) => makeEvidence({ evidence: { expectedAkName: evidence.expectedAkName } }),
    ],
    [
      'an attestation and signature of another TPM',
      'SIGNATURE_INVALID',
      ({ evidence, key }) => {
        const other = createSimulatedTpm(maker);
        return { ...evidence, ...other.certify(other.createDeviceKey(), bindEvidence(FRESHNESS, key.spki)) };
      },
    ],
    [
      'a device key of another TPM',
      'ATTESTED_NAME_MISMATCH',
      ({ evidence }) => {
        const other = createSimulatedTpm(maker).createDeviceKey();
        return { ...evidence, attested: other.publicArea, csrPublicKey: other.spki };
      },
    ],
    [
      'evidence for another nonce',
      'QUALIFYING_DATA_MISMATCH',
      ({ evidence, key }) => ({ ...evidence, qualifyingData: bindEvidence(Buffer.alloc(32, 1), key.spki) }),
    ],
    [
      'evidence bound to another key of the same TPM',
      'QUALIFYING_DATA_MISMATCH',
      ({ evidence, tpm }) => {
        const { spki } = tpm.createDeviceKey();
        return { ...evidence, qualifyingData: bindEvidence(FRESHNESS, spki), csrPublicKey: spki };
      },
    ],
    [
      'a CSR with another key',
      'CSR_KEY_MISMATCH',
      ({ evidence, tpm }) => ({ ...evidence, csrPublicKey: tpm.createDeviceKey().spki }),
    ],
    [
      'attributes changed after certifying',
      'ATTESTED_NAME_MISMATCH',
      ({ evidence }) => {
        const area = parsePublicArea(evidence.attested);
        const attributes = new Set([...area.attributes, 'adminWithPolicy' as const]);
        return { ...evidence, attested: formatPublicArea({ ...area, attributes }) };
      },
    ],
    [
      'a point changed after certifying',
      'ATTESTED_NAME_MISMATCH',
      ({ evidence }) => ({ ...evidence, attested: flip(evidence.attested, evidence.attested.length - 1) }),
    ],
    [
      'a flipped bit in the signature',
      'SIGNATURE_INVALID',
      ({ evidence }) => ({ ...evidence, signature: flip(evidence.signature, evidence.signature.length - 1) }),
    ],
    [
      'a flipped bit in the signed structure',
      'SIGNATURE_INVALID',
      ({ evidence }) => ({ ...evidence, attest: flip(evidence.attest, evidence.attest.length - 1) }),
    ],
  ])('%s: %s', (_what, code, spoil) => {
    expect(refusalOf(spoil(evidenceOfNewTpm()))).toBe(code);
  });
});

describe('verifyCertifyEvidence refuses, though rightly signed,', () => {
  it('nothing of a software key that was challenged and has every attribute: that is what the challenge is for', () => {
    expect(refusalOf(makeEvidence())).toBe('accepted');
  });

  it.each(['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'sign'] as const)(
    'an attestation key that is not %s',
    (attribute) => expect(refusalOf(makeEvidence({ ak: without(attribute) }))).toBe('AK_ATTRIBUTES'),
  );

  it.each(['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'sign'] as const)(
    'a device key that is not %s',
    (attribute) => expect(refusalOf(makeEvidence({ key: without(attribute) }))).toBe('KEY_ATTRIBUTES'),
  );

  const magic = Buffer.from('ff544348', 'hex');
  const quote = Buffer.from('ff5443478018', 'hex');
  const unknown = Buffer.from('ff5443470000', 'hex');

  it.each<[string, Tpm2ErrorCode, () => CertifyEvidence]>([
    ['an attestation key that may decrypt', 'AK_ATTRIBUTES', () => makeEvidence({ ak: withAttribute('decrypt') })],
    [
      'an attestation key bound to no scheme',
      'AK_ALGORITHM',
      () => makeEvidence({ ak: (area) => ({ ...area, scheme: undefined }) }),
    ],
    [
      'an attestation key bound to no scheme, before anything it states is read',
      'AK_ALGORITHM',
      () => makeEvidence({ ak: (area) => ({ ...area, scheme: undefined }), attestBytes: () => Buffer.alloc(0) }),
    ],
    [
      'an attestation key that signs SHA-1',
      'AK_ALGORITHM',
      () =>
        makeEvidence({
          ak: (area) => ({ ...area, scheme: { algorithm: 'ecdsa', hash: 'sha1' } }),
          signature: (message, key) => sign('sha1', message, key),
        }),
    ],
    [
      'an attestation key named by SHA-1',
      'AK_ALGORITHM',
      () => makeEvidence({ ak: (a) => ({ ...a, nameAlg: 'sha1' }) }),
    ],
    [
      'a signature by another hash than the attestation key is bound to',
      'SIGNATURE_INVALID',
      () => makeEvidence({ signature: (message, key) => sign('sha384', message, key) }),
    ],
    [
      'a TPM signature that names another hash than the key, and is by that hash',
      'SIGNATURE_INVALID',
      () => makeEvidence({ signature: (message, key) => signNamingSha384(message, key, 'sha384') }),
    ],
    [
      'a TPM signature that names another hash than the key, though it is by the right one',
      'SIGNATURE_INVALID',
      () => makeEvidence({ signature: (message, key) => signNamingSha384(message, key, 'sha256') }),
    ],
    ['a signature that is none', 'SIGNATURE_MALFORMED', () => makeEvidence({ signature: () => Buffer.of(0, 0x18, 0) })],
    ['an empty signature', 'SIGNATURE_MALFORMED', () => makeEvidence({ signature: () => Buffer.alloc(0) })],
    ['data that no TPM generated', 'ATTEST_MAGIC', () => makeEvidence({ attestBytes: (bytes) => start(bytes, magic) })],
    ['a quote', 'ATTEST_TYPE', () => makeEvidence({ attestBytes: (bytes) => start(bytes, quote) })],
    ['an unknown kind of attestation', 'ATTEST_TYPE', () => makeEvidence({ attestBytes: (b) => start(b, unknown) })],
    [
      'octets after the attestation',
      'ATTEST_MALFORMED',
      () => makeEvidence({ attestBytes: (bytes) => Buffer.concat([bytes, Buffer.of(0)]) }),
    ],
    [
      'an attestation cut short',
      'ATTEST_MALFORMED',
      () => makeEvidence({ attestBytes: (bytes) => bytes.subarray(0, -1) }),
    ],
    [
      'a flag that is neither yes nor no',
      'ATTEST_MALFORMED',
      () =>
        makeEvidence({
          attestBytes: (bytes) => {
            // After it come the firmware version and two names of SHA-256.
            const at = bytes.length - 2 * (2 + 34) - 8 - 1;
            expect(bytes[at]).toBe(1);
            return Buffer.concat([bytes.subarray(0, at), Buffer.of(2), bytes.subarray(at + 1)]);
          },
        }),
    ],
    [
      'empty qualifying data',
      'QUALIFYING_DATA_MISMATCH',
      () => makeEvidence({ attest: { extraData: Buffer.alloc(0) } }),
    ],
    ['a restricted device key', 'KEY_ATTRIBUTES', () => makeEvidence({ key: withAttribute('restricted') })],
    ['a device key named by SHA-1', 'KEY_ALGORITHM', () => makeEvidence({ key: (a) => ({ ...a, nameAlg: 'sha1' }) })],
    [
      'a device key of RSA with 1024 bits',
      'KEY_ALGORITHM',
      () => makeEvidence({ key: (area) => makeRsaArea(1024, area).area }),
    ],
    [
      'a device key whose point is not on the curve',
      'KEY_UNUSABLE',
      () => makeEvidence({ key: (area) => ({ ...area, y: flip(area.y, 31) }) }),
    ],
    [
      'an attestation key whose point is not on the curve',
      'KEY_UNUSABLE',
      () => makeEvidence({ ak: (area) => ({ ...area, y: flip(area.y, 31) }) }),
    ],
    [
      'an attestation key with its TPM2B size',
      'PUBLIC_AREA_UNSUPPORTED',
      () => makeEvidence({ evidence: { ak: RECORDED_AK } }),
    ],
    [
      'a device key that is no public area',
      'PUBLIC_AREA_MALFORMED',
      () => makeEvidence({ evidence: { attested: Buffer.of(0) } }),
    ],
  ])('%s: %s', (_what, code, make) => {
    expect(refusalOf(make())).toBe(code);
  });

  it('an RSA attestation key of 1024 bits', () => {
    const base = {
      ...attestationKeyArea(makeEccKey().point),
      scheme: { algorithm: 'rsassa', hash: 'sha256' } as const,
    };
    const { area, privateKey } = makeRsaArea(1024, base);
    const evidence = makeEvidence({ ak: () => area, signature: (message) => sign('sha256', message, privateKey) });
    expect(refusalOf(evidence)).toBe('AK_ALGORITHM');
  });
});

describe('verifyCertifyEvidence with several defects', () => {
  it('names the first of its fixed order', () => {
    const worst = makeEvidence({
      ak: without('fixedTPM'),
      key: without('fixedTPM'),
      attest: { extraData: Buffer.alloc(1), name: Buffer.alloc(1) },
      attestBytes: (bytes) => start(bytes, Buffer.alloc(4)),
      signature: () => Buffer.of(0x30),
    });
    const better = makeEvidence({ key: without('fixedTPM'), attest: { extraData: Buffer.alloc(1) } });
    expect(refusalOf({ ...worst, expectedAkName: Buffer.alloc(34) })).toBe('AK_NAME_MISMATCH');
    expect(refusalOf(worst)).toBe('AK_ATTRIBUTES');
    expect(refusalOf({ ...better, signature: Buffer.of(0x30) })).toBe('SIGNATURE_INVALID');
    expect(refusalOf(better)).toBe('QUALIFYING_DATA_MISMATCH');
    expect(refusalOf({ ...better, attest: start(better.attest, Buffer.alloc(4)) })).toBe('ATTEST_MAGIC');
  });
});
