import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCertifyAttest } from '#ca/tpm2/attest.ts';
import { parseCertifyResponse } from '#ca/tpm2/certify-command.ts';
import { makeCredential } from '#ca/tpm2/make-credential.ts';
import { formatPublicArea, nameOf, parsePublicArea, parseSizedPublicArea } from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { formatPlainSignature, parseTpmSignature } from '#ca/tpm2/signature.ts';
import { endorsementAreaOf } from '#ca/tpm2/templates.ts';
import { Tpm2Error } from '#ca/tpm2/tpm-error.ts';
import { type CertifyEvidence, verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import { TpmRefusal } from '#simulators/tpm/tpm-refusal.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import {
  RECORDED_AK,
  RECORDED_DEVICE_KEY,
  RECORDED_RESPONSE,
  RECORDED_RSA_AK,
  RECORDED_RSA_RESPONSE,
} from '#test/fixtures/ca/recorded-evidence.ts';
import { makeEvidence } from '#test/fixtures/ca/software-evidence.ts';

const ecdsa = parseCertifyResponse(RECORDED_RESPONSE);
const rsassa = parseCertifyResponse(RECORDED_RSA_RESPONSE);
const readKey = (bytes: Buffer) => {
  const area = parsePublicArea(bytes);
  // What is accepted is written back as it was, so that the Name is over the octets received.
  expect(formatPublicArea(area)).toEqual(bytes);
  return [nameOf(area), formatSpki(area)];
};

const parsers: [string, Buffer, (bytes: Buffer) => unknown][] = [
  ['parsePublicArea (ECC)', RECORDED_DEVICE_KEY.subarray(2), readKey],
  ['parsePublicArea (RSA)', RECORDED_RSA_AK.subarray(2), readKey],
  ['parseSizedPublicArea', RECORDED_AK, parseSizedPublicArea],
  ['parseCertifyAttest', ecdsa.attest, parseCertifyAttest],
  ['parseTpmSignature (ECDSA)', ecdsa.signature, (bytes) => formatPlainSignature(parseTpmSignature(bytes))],
  ['parseTpmSignature (RSASSA)', rsassa.signature, (bytes) => formatPlainSignature(parseTpmSignature(bytes))],
  ['parseCertifyResponse', RECORDED_RESPONSE, parseCertifyResponse],
  ['endorsementAreaOf', makeKey('ec-p256').spki, endorsementAreaOf],
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

function throwsOnly(type: typeof Tpm2Error | typeof TpmRefusal, work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof type)) throw error;
  }
}

describe.each(parsers)('%s', (_name, valid, parse) => {
  it('reads what is right', () => {
    expect(() => parse(valid)).not.toThrow();
  });

  it('throws nothing but Tpm2Error on spoilt octets', () => {
    fc.assert(
      fc.property(spoil(valid), (bytes) => throwsOnly(Tpm2Error, () => parse(bytes))),
      { numRuns: 1500 },
    );
  });

  it('throws nothing but Tpm2Error on random octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => throwsOnly(Tpm2Error, () => parse(Buffer.from(bytes)))),
    );
  });
});

describe('verifyCertifyEvidence', () => {
  const valid = makeEvidence();
  const fields = ['ak', 'attested', 'attest', 'signature', 'qualifyingData', 'csrPublicKey'] as const;

  it.each(fields)('accepts no spoilt %s, and throws nothing but Tpm2Error', (field) => {
    const original = Buffer.from(valid[field]);
    fc.assert(
      fc.property(spoil(original), (bytes) => {
        fc.pre(!bytes.equals(original));
        const evidence: CertifyEvidence = { ...valid, [field]: bytes };
        expect(() => verifyCertifyEvidence(evidence)).toThrow(Tpm2Error);
      }),
      { numRuns: 500 },
    );
  });

  it.each(fields)('throws nothing but Tpm2Error on random octets as %s', (field) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 150 }), (bytes) => {
        expect(() => verifyCertifyEvidence({ ...valid, [field]: bytes })).toThrow(Tpm2Error);
      }),
    );
  });
});

describe('the TPM in memory', () => {
  const tpm = createSimulatedTpm(createSimulatedMaker());
  const ekPublic = parsePublicArea(tpm.ekPublic);
  const secret = Buffer.alloc(32);
  const valid = makeCredential({ ekPublic, akName: tpm.ak.name, secret, random: randomBytes });

  it('throws nothing but TpmRefusal on spoilt credentials', () => {
    fc.assert(
      fc.property(spoil(valid.credentialBlob), spoil(valid.encryptedSecret), (blob, encrypted) => {
        throwsOnly(TpmRefusal, () => tpm.activateCredential(blob, valid.encryptedSecret));
        throwsOnly(TpmRefusal, () => tpm.activateCredential(valid.credentialBlob, encrypted));
      }),
      { numRuns: 500 },
    );
  });
});
