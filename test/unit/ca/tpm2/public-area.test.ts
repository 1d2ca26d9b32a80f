import { createPublicKey, hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { formatAttributes, parseAttributes } from '#ca/tpm2/object-attributes.ts';
import {
  formatPublicArea,
  formatSizedPublicArea,
  nameOf,
  parsePublicArea,
  parseSizedPublicArea,
  type RsaPublicArea,
} from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import {
  AK_ATTRIBUTES,
  DEVICE_KEY_ATTRIBUTES,
  deviceKeyArea,
  EK_HIGH_ATTRIBUTES,
  EK_LOW_ATTRIBUTES,
  SRK_ATTRIBUTES,
} from '#ca/tpm2/templates.ts';
import { RECORDED_AK, RECORDED_DEVICE_KEY, RECORDED_RSA_AK } from '#test/fixtures/ca/recorded-evidence.ts';
import { makeEccKey } from '#test/fixtures/ca/software-evidence.ts';

describe('parsePublicArea', () => {
  it('reads what a TPM writes', () => {
    expect(parseSizedPublicArea(RECORDED_AK)).toMatchObject({
      type: 'ecc',
      nameAlg: 'sha256',
      attributes: AK_ATTRIBUTES,
      scheme: { algorithm: 'ecdsa', hash: 'sha256' },
      symmetricBits: undefined,
      curve: 'P-256',
    });
    expect(parseSizedPublicArea(RECORDED_RSA_AK)).toMatchObject({
      type: 'rsa',
      scheme: { algorithm: 'rsassa', hash: 'sha256' },
      keyBits: 2048,
      exponent: 0,
    });
    expect(parseSizedPublicArea(RECORDED_DEVICE_KEY)).toMatchObject({
      attributes: DEVICE_KEY_ATTRIBUTES,
      scheme: undefined,
    });
  });

  it.each([RECORDED_AK, RECORDED_RSA_AK, RECORDED_DEVICE_KEY])('is undone by formatPublicArea', (sized) => {
    const area = parseSizedPublicArea(sized);
    expect(formatSizedPublicArea(area)).toEqual(sized);
    expect(formatPublicArea(area)).toEqual(sized.subarray(2));
  });

  const device = RECORDED_DEVICE_KEY.subarray(2);
  const changed = (at: number, octets: string) => {
    const bytes = Buffer.from(device);
    bytes.set(Buffer.from(octets, 'hex'), at);
    return bytes;
  };

  it.each([
    ['a sealed secret (KEYEDHASH)', changed(0, '0008'), 'PUBLIC_AREA_UNSUPPORTED'],
    ['an unknown name algorithm', changed(2, '0012'), 'PUBLIC_AREA_UNSUPPORTED'],
    ['a reserved attribute', changed(4, '80040472'), 'PUBLIC_AREA_MALFORMED'],
    ['a policy that is no digest', changed(8, '0001'), 'PUBLIC_AREA_MALFORMED'],
    ['another cipher than AES', changed(10, '0025'), 'PUBLIC_AREA_UNSUPPORTED'],
    ['an RSA scheme on an ECC key', changed(12, '0014'), 'PUBLIC_AREA_UNSUPPORTED'],
    ['a curve that is not handled', changed(14, '0010'), 'PUBLIC_AREA_UNSUPPORTED'],
    ['a key derivation scheme', changed(16, '0020'), 'PUBLIC_AREA_UNSUPPORTED'],
    ['a coordinate longer than the field', changed(18, '0021'), 'PUBLIC_AREA_MALFORMED'],
    ['a length beyond the end', changed(18, 'ffff'), 'PUBLIC_AREA_MALFORMED'],
    ['an octet too many', Buffer.concat([device, Buffer.of(0)]), 'PUBLIC_AREA_MALFORMED'],
    ['an octet too few', device.subarray(0, -1), 'PUBLIC_AREA_MALFORMED'],
    ['nothing', Buffer.alloc(0), 'PUBLIC_AREA_MALFORMED'],
  ])('refuses %s', (_what, bytes, code) => {
    expect(() => parsePublicArea(bytes)).toThrow(expect.objectContaining({ code }));
  });

  const rsa = parseSizedPublicArea(RECORDED_RSA_AK) as RsaPublicArea;

  it.each([
    ['an even exponent', { exponent: 65_538 }, 'PUBLIC_AREA_MALFORMED'],
    ['exponent 1', { exponent: 1 }, 'PUBLIC_AREA_MALFORMED'],
    [
      'a modulus with a leading zero',
      { modulus: Buffer.concat([Buffer.of(0), rsa.modulus.subarray(1)]) },
      'PUBLIC_AREA_MALFORMED',
    ],
    ['a modulus of another size than it says', { modulus: rsa.modulus.subarray(1) }, 'PUBLIC_AREA_MALFORMED'],
    ['a size no TPM has', { keyBits: 2056, modulus: Buffer.alloc(257, 0xff) }, 'PUBLIC_AREA_UNSUPPORTED'],
  ])('refuses an RSA key with %s', (_what, change, code) => {
    expect(() => parsePublicArea(formatPublicArea({ ...rsa, ...change }))).toThrow(expect.objectContaining({ code }));
  });

  it('refuses a size that is not that of the area', () => {
    for (const bytes of [Buffer.concat([RECORDED_AK, Buffer.of(0)]), RECORDED_AK.subarray(0, -1)]) {
      expect(() => parseSizedPublicArea(bytes)).toThrow(expect.objectContaining({ code: 'PUBLIC_AREA_MALFORMED' }));
    }
  });
});

describe('nameOf', () => {
  it('is the name algorithm and the digest of the area without its size', () => {
    const digest = hash('sha256', RECORDED_AK.subarray(2), 'hex');
    expect(nameOf(parseSizedPublicArea(RECORDED_AK)).toString('hex')).toBe(`000b${digest}`);
  });
});

describe('formatSpki', () => {
  it('takes RSA exponent 0 as 65537', () => {
    const key = createPublicKey({
      key: formatSpki(parseSizedPublicArea(RECORDED_RSA_AK)),
      format: 'der',
      type: 'spki',
    });
    expect(key.asymmetricKeyDetails).toMatchObject({ modulusLength: 2048, publicExponent: 65_537n });
  });

  it('pads coordinates that a TPM wrote without their leading zeros', () => {
    let key = makeEccKey();
    while (key.point.x[0] !== 0) key = makeEccKey();
    const padded = formatSpki(deviceKeyArea(key.point));
    const short = { x: key.point.x.subarray(1), y: key.point.y };
    expect(formatSpki(deviceKeyArea(short))).toEqual(padded);
    expect(nameOf(deviceKeyArea(short))).not.toEqual(nameOf(deviceKeyArea(key.point)));
    expect(createPublicKey(key.privateKey).export({ type: 'spki', format: 'der' })).toEqual(padded);
  });

  it('refuses a point that is not on its curve', () => {
    const { x } = makeEccKey().point;
    expect(() => formatSpki(deviceKeyArea({ x, y: x }))).toThrow(expect.objectContaining({ code: 'KEY_UNUSABLE' }));
  });
});

describe('object attributes', () => {
  it.each([
    ['storage root key', SRK_ATTRIBUTES, 0x00030472],
    ['attestation key', AK_ATTRIBUTES, 0x00050472],
    ['device key', DEVICE_KEY_ATTRIBUTES, 0x00040472],
    ['endorsement key, low range', EK_LOW_ATTRIBUTES, 0x000300b2],
    ['endorsement key, high range', EK_HIGH_ATTRIBUTES, 0x000300f2],
  ])('of the %s are the bits of its template', (_what, attributes, bits) => {
    expect(formatAttributes(attributes)).toBe(bits);
    expect(parseAttributes(bits)).toEqual(attributes);
  });
});
