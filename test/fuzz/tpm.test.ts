import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { integer, octetString, readDer, TAG } from '#ca/pkix/der.ts';
import { DerFields, readNumber } from '#ca/pkix/der-values.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { type CertifyAttest, formatCertifyAttest, parseCertifyAttest } from '#ca/tpm2/attest.ts';
import { ByteReader } from '#ca/tpm2/byte-reader.ts';
import { ByteWriter } from '#ca/tpm2/byte-writer.ts';
import { formatCertifyCommand, parseCertifyResponse } from '#ca/tpm2/certify-command.ts';
import { makeCredential } from '#ca/tpm2/make-credential.ts';
import {
  formatPublicArea,
  formatSizedPublicArea,
  nameOf,
  type PublicArea,
  parsePublicArea,
  parseSizedPublicArea,
} from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { formatPlainSignature, parseTpmSignature } from '#ca/tpm2/signature.ts';
import { endorsementAreaOf, endorsementTemplate } from '#ca/tpm2/templates.ts';
import { Tpm2Error } from '#ca/tpm2/tpm-error.ts';
import { formatTss2Pem } from '#ca/tpm2/tss2-pem.ts';
import { type CertifyEvidence, verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import { splitDer } from '#device-agent/tpm/read-nv.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import {
  RECORDED_AK,
  RECORDED_DEVICE_KEY,
  RECORDED_RESPONSE,
  RECORDED_RSA_AK,
  RECORDED_RSA_RESPONSE,
} from '#test/fixtures/ca/recorded-evidence.ts';
import { makeEvidence } from '#test/fixtures/ca/software-evidence.ts';
import { fuzzBytesParser } from './fuzz-parser.ts';
import { holdsFor } from './fuzz-runs.ts';
import { mutatedBytes, randomOctets } from './mutate-bytes.ts';
import { mutatedDer } from './mutate-der.ts';

const ecdsa = parseCertifyResponse(RECORDED_RESPONSE);
const rsassa = parseCertifyResponse(RECORDED_RSA_RESPONSE);
const ekAreas = (['ec-p256', 'ec-p384', 'rsa-2048'] as const).map((kind) => endorsementAreaOf(makeKey(kind).spki));
const sizedAreas = [RECORDED_AK, RECORDED_DEVICE_KEY, RECORDED_RSA_AK, ...ekAreas.map(formatSizedPublicArea)];
const areas = sizedAreas.map((bytes) => bytes.subarray(2));

/** Errors of Tpm2Error are an answer, anything else is not. @returns undefined for the former */
function unlessRefused<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof Tpm2Error) return undefined;
    throw error;
  }
}

fuzzBytesParser<PublicArea>({
  name: 'parsePublicArea',
  valid: areas,
  parse: parsePublicArea,
  refusesWith: Tpm2Error,
  holds: (area, bytes) => {
    // The Name is over the octets received only if they are written back as they were.
    expect(formatPublicArea(area)).toEqual(bytes);
    const spki = unlessRefused(() => formatSpki(area));
    if (spki !== undefined) expect(spki.length).toBeGreaterThan(40);
    const isCredentialMade = unlessRefused(() => makeCredentialFor(area)) !== undefined;
    if (isCredentialMade) {
      expect(area.attributes.has('restricted') && area.attributes.has('decrypt')).toBe(true);
      expect(area.nameAlg).not.toBe('sha1');
    }
  },
});

function makeCredentialFor(ekPublic: PublicArea) {
  return makeCredential({ ekPublic, akName: nameOf(ekPublic), secret: Buffer.alloc(32), random: randomBytes });
}

fuzzBytesParser<PublicArea>({
  name: 'parseSizedPublicArea',
  valid: sizedAreas,
  parse: parseSizedPublicArea,
  refusesWith: Tpm2Error,
  holds: (area, bytes) => expect(formatSizedPublicArea(area)).toEqual(bytes),
});

fuzzBytesParser<CertifyAttest>({
  name: 'parseCertifyAttest',
  valid: [ecdsa.attest, rsassa.attest],
  parse: parseCertifyAttest,
  refusesWith: Tpm2Error,
  holds: (attest, bytes) => expect(formatCertifyAttest(attest)).toEqual(bytes),
});

fuzzBytesParser({
  name: 'parseTpmSignature',
  valid: [ecdsa.signature, rsassa.signature],
  parse: (bytes) => formatPlainSignature(parseTpmSignature(bytes)),
  refusesWith: Tpm2Error,
  holds: (plain, bytes) => expect(plain.length).toBeLessThanOrEqual(bytes.length + 10),
});

fuzzBytesParser({
  name: 'parseCertifyResponse',
  valid: [RECORDED_RESPONSE, RECORDED_RSA_RESPONSE],
  parse: parseCertifyResponse,
  refusesWith: Tpm2Error,
  holds: ({ attest, signature }, bytes) => {
    expect(bytes.includes(Buffer.concat([attest, signature]))).toBe(true);
    expect(bytes.readUInt32BE(6)).toBe(0);
  },
});

const ekKeys = (['ec-p256', 'ec-p384', 'rsa-2048'] as const).map((kind) => makeKey(kind).spki);

fuzzBytesParser({
  name: 'endorsementAreaOf',
  valid: ekKeys,
  mutated: [mutatedDer(ekKeys)],
  parse: endorsementAreaOf,
  refusesWith: Tpm2Error,
  holds: (area) => {
    expect(parsePublicArea(formatPublicArea(area))).toEqual(area);
    unlessRefused(() => makeCredentialFor(area));
  },
});

fuzzBytesParser({
  name: 'splitDer (what an NV index holds)',
  valid: [Buffer.concat([...ekKeys, Buffer.alloc(50, 0xff)])],
  mutated: [mutatedDer(ekKeys)],
  parse: splitDer,
  holds: (values, bytes) => {
    expect(bytes.subarray(0, Buffer.concat(values).length)).toEqual(Buffer.concat(values));
    expect(values.every((value) => value.length >= 2)).toBe(true);
  },
});

function octets(max: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ maxLength: max }).map((bytes) => Buffer.from(bytes));
}

describe('TPM structures', () => {
  const u32 = fc.nat(0xffffffff);
  const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

  it('come back as they were written', () => {
    const attest = fc.record({
      qualifiedSigner: octets(70),
      extraData: octets(70),
      clock: u64,
      resetCount: u32,
      restartCount: u32,
      clockIsSafe: fc.boolean(),
      firmwareVersion: u64,
      name: octets(70),
      qualifiedName: octets(70),
    });
    holdsFor(300, attest, (written) => expect(parseCertifyAttest(formatCertifyAttest(written))).toEqual(written));
    const ecc = fc.record({
      x: fc.uint8Array({ minLength: 1, maxLength: 32 }),
      y: fc.uint8Array({ minLength: 1, maxLength: 32 }),
    });
    holdsFor(300, ecc, ({ x, y }) => {
      const point = { x: Buffer.from(x), y: Buffer.from(y) };
      const written: PublicArea = { type: 'ecc', ...endorsementTemplate('ec-p256'), curve: 'P-256', ...point };
      expect(parsePublicArea(formatPublicArea(written))).toEqual(written);
    });
  });

  it('are written as others read them: the command, and the file of a key', () => {
    holdsFor(300, fc.tuple(u32, u32, octets(64)), ([objectHandle, signHandle, qualifyingData]) => {
      const command = formatCertifyCommand({ objectHandle, signHandle, qualifyingData });
      const reader = new ByteReader(command, 'the command', 'RESPONSE_MALFORMED');
      const head = [reader.u16(), reader.u32(), reader.u32(), reader.u32(), reader.u32()];
      expect(head).toEqual([0x8002, command.length, 0x148, objectHandle, signHandle]);
      reader.bytes(reader.u32());
      expect([reader.sized(), reader.u16()]).toEqual([qualifyingData, 0x0010]);
      reader.end();
    });
    holdsFor(300, fc.tuple(u32, octets(300), octets(300)), ([parentHandle, publicArea, privateArea]) => {
      const [der = Buffer.alloc(0)] = parsePem(
        formatTss2Pem({ parentHandle, publicArea, privateArea }),
        'TSS2 PRIVATE KEY',
      );
      const fields = new DerFields(readDer(der), 'a key');
      fields.take(TAG.oid, 'its type');
      fields.take(0xa0, 'emptyAuth');
      expect(readNumber(fields.take(TAG.integer, 'its parent'), 'its parent')).toBe(parentHandle);
      expect(fields.take(TAG.octetString, 'public').content).toEqual(publicArea);
      expect(fields.take(TAG.octetString, 'private').content).toEqual(privateArea);
      fields.end();
    });
  });
});

/** TPMT_SIGNATURE: ECDSA with SHA-256. */
function asTpm(r: Uint8Array = Buffer.alloc(0), s: Uint8Array = Buffer.alloc(0)): Buffer {
  return new ByteWriter().u16(0x0018).u16(0x000b).sized(r).sized(s).toBuffer();
}

describe('verifyCertifyEvidence', () => {
  const valid = makeEvidence();
  const fields = ['ak', 'expectedAkName', 'attested', 'attest', 'signature', 'qualifyingData', 'csrPublicKey'] as const;
  const others = fields.map((field) => Buffer.from(valid[field]));

  it.each(fields)('accepts no other %s, and refuses it with Tpm2Error', (field) => {
    const original = Buffer.from(valid[field]);
    const inputs = fc.oneof(mutatedBytes([original]), mutatedBytes(others), randomOctets);
    holdsFor(1000, inputs, (bytes) => {
      if (bytes.equals(original)) return;
      const evidence: CertifyEvidence = { ...valid, [field]: bytes };
      expect(() => verifyCertifyEvidence(evidence)).toThrow(Tpm2Error);
    });
  });

  it('accepts a signature in both of its forms, and no other octets that mean the same', () => {
    const [r, s] = readDer(Buffer.from(valid.signature))
      .children()
      .map(({ content }) => content);
    expect(() => verifyCertifyEvidence({ ...valid, signature: asTpm(r, s) })).not.toThrow();
    const wrong = [asTpm(s, r), asTpm(), asTpm(r), asTpm(Buffer.alloc(32), s), octetString(asTpm(r, s)), integer(1)];
    for (const signature of wrong) {
      expect(() => verifyCertifyEvidence({ ...valid, signature })).toThrow(Tpm2Error);
    }
  });
});
