import { createPublicKey, type KeyObject } from 'node:crypto';
import { bitString, type Der, integer, nullValue, oid, sequence } from '#ca/pkix/der.ts';
import { CURVES } from './algorithms.ts';
import type { EccPublicArea, PublicArea, RsaPublicArea } from './public-area.ts';
import { Tpm2Error } from './tpm-error.ts';

const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
const EC_PUBLIC_KEY = '1.2.840.10045.2.1';
/** What exponent 0 of a public area means (TPM 2.0 Part 2, 12.2.3.5). */
export const DEFAULT_RSA_EXPONENT = 65_537;

/**
 * SubjectPublicKeyInfo (RFC 5280 4.1.2.7), in the one encoding that our CSRs and certificates use as well.
 * @throws Tpm2Error KEY_UNUSABLE when the point is not on its curve
 */
export function formatSpki(area: PublicArea): Der {
  const spki = area.type === 'rsa' ? formatRsa(area) : formatEcc(area);
  importSpki(spki);
  return spki;
}

/** @throws Tpm2Error KEY_UNUSABLE */
export function importPublicArea(area: PublicArea): KeyObject {
  return importSpki(area.type === 'rsa' ? formatRsa(area) : formatEcc(area));
}

function formatRsa({ modulus, exponent }: RsaPublicArea): Der {
  const key = sequence(integer(modulus), integer(exponent === 0 ? DEFAULT_RSA_EXPONENT : exponent));
  return sequence(sequence(oid(RSA_ENCRYPTION), nullValue()), bitString(key));
}

function formatEcc(area: EccPublicArea): Der {
  return sequence(sequence(oid(EC_PUBLIC_KEY), oid(CURVES[area.curve].oid)), bitString(formatPoint(area)));
}

/** The point uncompressed (SEC 1, 2.3.3), both coordinates left-padded to the size of the field. */
export function formatPoint({ curve, x, y }: Pick<EccPublicArea, 'curve' | 'x' | 'y'>): Buffer {
  const size = CURVES[curve].bytes;
  const point = Buffer.alloc(1 + 2 * size);
  point[0] = 0x04;
  point.set(x, 1 + size - x.length);
  point.set(y, 1 + 2 * size - y.length);
  return point;
}

function importSpki(spki: Der): KeyObject {
  try {
    // OpenSSL refuses a point that is not on the curve.
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (cause) {
    throw new Tpm2Error('KEY_UNUSABLE', 'the public area holds no usable key', { cause });
  }
}
