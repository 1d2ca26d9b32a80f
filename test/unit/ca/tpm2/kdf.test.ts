import { describe, expect, it } from 'vitest';
import type { TpmHash } from '#ca/tpm2/algorithms.ts';
import { kdfA, kdfE } from '#ca/tpm2/kdf.ts';

const hex = (text: string) => Buffer.from(text, 'hex');
const KEY = hex('271fa08bbdc5060ec3dfa928ff9b73123a12da0c');
const U = hex('ce244f395dca7391');
const V = hex('da504031ddf12e83');

describe('KDFa', () => {
  it.each<[TpmHash, string]>([
    ['sha1', '55b5a7184aa07423c47dae766c26a2377d7cf851'],
    ['sha256', 'bb0259e1c8ba607e6a2cd704b69a902e9ade84c4'],
    ['sha384', '1dce70c9113eb2dba47bd9cfc72bf46f45b09312'],
    ['sha512', '8be2c1b85b78569b9fa759f5857c56d684810fd3'],
  ])("gives the value of the TCG reference code's self-test for %s", (algorithm, expected) => {
    expect(kdfA(algorithm, KEY, 'KDFSELFTESTLABEL', 160, U, V).toString('hex')).toBe(expected);
  });

  // openssl kdf -keylen N -kdfopt mac:HMAC -kdfopt digest:H -kdfopt hexkey:KEY -kdfopt salt:STORAGE -kdfopt hexinfo:UV KBKDF
  it.each<[TpmHash, number, string]>([
    ['sha256', 128, '695e618c4c48586a1e7a58b9971e9f22'],
    ['sha256', 256, 'a03f4342af30d3a1a8b17107076d0ed31a227af13ae4e494e27909fdf13ca124'],
    [
      'sha256',
      800,
      '7d080e738a4425f3f9c4759da35db3fed59efda13bf0b2052166c466d2e02ddb453ea6b1ce13f9d3c86276743f30f4a00f5edbda35c52e3530301ecdbdaa5500e4dd770d5ae52bafe01e79fbc7f10a25933b6aa665444424dd39e57b99e11b13059f7c0d',
    ],
    ['sha384', 256, '51a0823195ce00118dbc654c65c3735531b6e33dbf995e6e1a5ba107c89f125c'],
    ['sha384', 384, '26b7ab1705291d00b113429fda2363581117b11e89abb83c7a84aef36da029d269899ea0c2da9bb31b16c83eda343582'],
  ])('gives what OpenSSL gives for %s and %i bits', (algorithm, bits, expected) => {
    expect(kdfA(algorithm, KEY, 'STORAGE', bits, U, V).toString('hex')).toBe(expected);
  });

  it('clears the bits above the length asked for', () => {
    const key = kdfA('sha256', KEY, 'STORAGE', 521, U, V);
    expect(key).toHaveLength(66);
    expect(key[0]).toBeLessThan(2);
  });
});

describe('KDFe', () => {
  // openssl kdf -keylen N -kdfopt digest:H -kdfopt hexkey:KEY -kdfopt hexinfo:(IDENTITY 00 UV) SSKDF
  it.each<[TpmHash, number, string]>([
    ['sha256', 256, '0d66cf571a72ccb2903b64a91d37d6172c08af6fbc640078175c1a5a91b75138'],
    [
      'sha256',
      640,
      '0d66cf571a72ccb2903b64a91d37d6172c08af6fbc640078175c1a5a91b75138037997266c096731182e90ac5917e9e6ce1a6cfec0fcf320eba4273e4fc2bbc07cea4413645800844dfbf5a85e9b9a09',
    ],
    ['sha384', 384, '92105b910c6ea58b5877bb309167c942855b372609e1aaa8341b99be07a45cd0747b36c0ed3f42081768a44ba2b59eed'],
  ])('gives what OpenSSL gives for %s and %i bits', (algorithm, bits, expected) => {
    expect(kdfE(algorithm, KEY, 'IDENTITY', bits, U, V).toString('hex')).toBe(expected);
  });
});
