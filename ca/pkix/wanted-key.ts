import type { CsrAttribute } from './csr-attributes.ts';
import { integer, oid, readDer, TAG } from './der.ts';
import { readNumber, readOid } from './der-values.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';
import type { KeyKind } from './public-key.ts';

/** A kind of key as CSR attributes ask for it: by its algorithm, and for EC the curve, for RSA the bits of the modulus. */
export type WantedKey = { algorithm: string; curve?: string; rsaBits?: number };

const WANTED = {
  'ec-p256': { algorithm: OID.ecPublicKey, curve: OID.prime256v1 },
  'ec-p384': { algorithm: OID.ecPublicKey, curve: OID.secp384r1 },
  ed25519: { algorithm: OID.ed25519 },
  'rsa-2048': { algorithm: OID.rsaEncryption, rsaBits: 2048 },
  'rsa-3072': { algorithm: OID.rsaEncryption, rsaBits: 3072 },
  'rsa-4096': { algorithm: OID.rsaEncryption, rsaBits: 4096 },
} as const satisfies Record<KeyKind, WantedKey>;

export function wantedKeyOf(kind: KeyKind): WantedKey {
  return WANTED[kind];
}

/** RFC 9908 3.2: one Attribute typed by the algorithm; its value is the curve, the size of an RSA key, or there is none. */
export function keyAttribute({ algorithm, curve, rsaBits }: WantedKey): CsrAttribute {
  if (curve !== undefined) return { oid: algorithm, values: [oid(curve)] };
  return { oid: algorithm, values: rsaBits === undefined ? [] : [integer(rsaBits)] };
}

/** @returns undefined when the item asks for no key. @throws PkixError MALFORMED when it does, but not in this form */
export function readWantedKey({ oid: algorithm, values }: CsrAttribute): WantedKey | undefined {
  const isKey = algorithm === OID.ecPublicKey || algorithm === OID.rsaEncryption || algorithm === OID.ed25519;
  if (!isKey || values === undefined) return undefined;
  const [value, second] = values;
  if (second !== undefined) throw new PkixError('MALFORMED', 'two parameters for one key');
  if (value === undefined) return { algorithm };
  const element = readDer(value);
  if (algorithm === OID.ecPublicKey) return { algorithm, curve: readOid(element, 'a curve') };
  if (algorithm === OID.rsaEncryption && element.tag === TAG.integer) {
    return { algorithm, rsaBits: readNumber(element, 'the size of an RSA key') };
  }
  throw new PkixError('MALFORMED', 'a wanted key with a parameter it does not have');
}
