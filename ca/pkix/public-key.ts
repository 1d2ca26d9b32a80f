import type { KeyObject } from 'node:crypto';
import { createPublicKey, hash } from 'node:crypto';
import { readDer, TAG } from './der.ts';
import { DerFields, readNumber, readOctetsOfBitString, readOid, readUnsigned } from './der-values.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';

export type KeyKind = 'ec-p256' | 'ec-p384' | 'ed25519' | 'rsa-2048' | 'rsa-3072' | 'rsa-4096';

/** `kind` is undefined for keys we do not certify; `description` is for people, e.g. "RSA 1024". */
export type KeyClass = { kind: KeyKind | undefined; description: string };

/** SubjectPublicKeyInfo up to the uncompressed point (RFC 5480) or the key (RFC 8410): there is one right encoding. */
const FIXED_SHAPES = [
  {
    kind: 'ec-p256',
    description: 'EC P-256',
    size: 91,
    start: '3059301306072a8648ce3d020106082a8648ce3d03010703420004',
  },
  { kind: 'ec-p384', description: 'EC P-384', size: 120, start: '3076301006072a8648ce3d020106052b8104002203620004' },
  { kind: 'ed25519', description: 'Ed25519', size: 44, start: '302a300506032b6570032100' },
] as const satisfies (KeyClass & { size: number; start: string })[];
const shapes = FIXED_SHAPES.map((shape) => ({ ...shape, start: Buffer.from(shape.start, 'hex') }));

/** What this key is and whether it may be certified: the encoding is read strictly, and the point must be on its curve. */
export function classifyPublicKey(spki: Uint8Array): KeyClass {
  try {
    const shape = describePublicKey(spki);
    // OpenSSL refuses a point that is not on the curve.
    if (shape.kind !== undefined) importPublicKey(spki);
    return shape;
  } catch {
    return { kind: undefined, description: 'an unreadable key' };
  }
}

/**
 * The same from the encoding alone: cheap, without the curve check.
 * @throws PkixError MALFORMED
 */
export function describePublicKey(spki: Uint8Array): KeyClass {
  for (const { kind, description, size, start } of shapes) {
    if (spki.length === size && start.compare(spki, 0, start.length) === 0) return { kind, description };
  }
  const { algorithm, parameters, key } = readSpki(spki);
  if (algorithm === OID.rsaEncryption)
    return parameters === '0500' ? describeRsa(key) : unsupported('RSA with odd parameters');
  if (algorithm === OID.rsassaPss) return unsupported('RSA-PSS only');
  if (algorithm === OID.ecPublicKey) return unsupported('EC on another curve, or not uncompressed');
  return unsupported(`algorithm ${algorithm}`);
}

function unsupported(description: string): KeyClass {
  return { kind: undefined, description };
}

function readSpki(spki: Uint8Array): { algorithm: string; parameters: string; key: Buffer } {
  const fields = new DerFields(readDer(spki), 'a public key');
  const [algorithm, parameters, tooMany] = fields.take(TAG.sequence, 'its algorithm').children();
  const key = readOctetsOfBitString(fields.take(TAG.bitString, 'its key'), 'a public key');
  fields.end();
  if (algorithm === undefined || tooMany !== undefined)
    throw new PkixError('MALFORMED', 'a public key without algorithm');
  return { algorithm: readOid(algorithm, 'a key algorithm'), parameters: parameters?.raw.toString('hex') ?? '', key };
}

function describeRsa(key: Buffer): KeyClass {
  const fields = new DerFields(readDer(key), 'an RSA key');
  const modulus = readUnsigned(fields.take(TAG.integer, 'its modulus'), 'an RSA modulus');
  const exponentElement = fields.take(TAG.integer, 'its exponent');
  fields.end();
  const bits = modulus.length * 8 - (Math.clz32(modulus[0] ?? 0) - 24);
  const description = `RSA ${bits}`;
  if (exponentElement.content.length > 5) return unsupported(`${description} with a huge exponent`);
  const exponent = readNumber(exponentElement, 'an RSA exponent');
  // A small or even exponent is weak or broken; a huge one makes every check slow.
  if (exponent < 65_537 || exponent > 2 ** 32 || exponent % 2 === 0)
    return unsupported(`${description} with exponent ${exponent}`);
  if (((modulus.at(-1) ?? 0) & 1) === 0) return unsupported(`${description} with an even modulus`);
  const kind =
    bits < 2048 || bits > 4096 ? undefined : bits < 3072 ? 'rsa-2048' : bits < 4096 ? 'rsa-3072' : 'rsa-4096';
  return { kind, description };
}

/** One import per Buffer: the class and then the signature of a CSR are checked with the same key. */
const imported = new WeakMap<Uint8Array, KeyObject>();

/** @throws PkixError UNSUPPORTED when OpenSSL will not have it. */
export function importPublicKey(spki: Uint8Array): KeyObject {
  const known = imported.get(spki);
  if (known !== undefined) return known;
  try {
    const bytes = Buffer.isBuffer(spki) ? spki : Buffer.from(spki);
    const key = createPublicKey({ key: bytes, format: 'der', type: 'spki' });
    imported.set(spki, key);
    return key;
  } catch (cause) {
    throw new PkixError('UNSUPPORTED', 'the public key cannot be used', { cause });
  }
}

/** The key alone, without algorithm and unused bits: what key identifiers are hashes of. @throws PkixError MALFORMED */
export function readKeyBits(spki: Uint8Array): Buffer {
  const fields = new DerFields(readDer(spki), 'a public key');
  fields.take(TAG.sequence, 'its algorithm');
  return readOctetsOfBitString(fields.take(TAG.bitString, 'its key'), 'a public key');
}

/** RFC 7093 2 (1): leftmost 160 bits of the SHA-256 of the BIT STRING's content. @throws PkixError MALFORMED */
export function keyIdentifier(spki: Uint8Array): Buffer {
  return hash('sha256', readKeyBits(spki), 'buffer').subarray(0, 20);
}

/** Lower-case hexadecimal. */
export function spkiSha256(spki: Uint8Array): string {
  return hash('sha256', spki, 'hex');
}
