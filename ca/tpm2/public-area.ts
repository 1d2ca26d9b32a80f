import { hash } from 'node:crypto';
import { ALGORITHM, CURVES, curveOfId, HASHES, hashOfId, type TpmCurve, type TpmHash } from './algorithms.ts';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { formatAttributes, type ObjectAttributes, parseAttributes } from './object-attributes.ts';
import { Tpm2Error } from './tpm-error.ts';

/** TPMT_RSA_SCHEME and TPMT_ECC_SCHEME: what the key is bound to, if to anything. */
type KeyScheme = { algorithm: 'rsassa' | 'rsapss' | 'oaep' | 'ecdsa' | 'ecdh'; hash: TpmHash } | { algorithm: 'rsaes' };

type PublicAreaOfAnyType = {
  nameAlg: TpmHash;
  attributes: ObjectAttributes;
  /** Empty, or a digest of nameAlg. */
  authPolicy: Buffer;
  /** AES in CFB mode, which storage keys protect their children with; undefined: TPM_ALG_NULL. */
  symmetricBits: 128 | 192 | 256 | undefined;
  /** undefined: TPM_ALG_NULL, the scheme is chosen at each use. */
  scheme: KeyScheme | undefined;
};

export type RsaPublicArea = PublicAreaOfAnyType & {
  type: 'rsa';
  keyBits: number;
  /** 0 means 65537 (TPM 2.0 Part 2, 12.2.3.5). */
  exponent: number;
  modulus: Buffer;
};

export type EccPublicArea = PublicAreaOfAnyType & {
  type: 'ecc';
  curve: TpmCurve;
  /** As it was written: a TPM may leave leading zero octets out, and the Name covers what it wrote. */
  x: Buffer;
  y: Buffer;
};

/** TPMT_PUBLIC (TPM 2.0 Part 2, 12.2.4) of an asymmetric key. */
export type PublicArea = RsaPublicArea | EccPublicArea;

/**
 * What is accepted is written back by formatPublicArea octet for octet.
 * @param bytes TPMT_PUBLIC, without the size that TPM2B_PUBLIC puts before it.
 * @throws Tpm2Error PUBLIC_AREA_MALFORMED, PUBLIC_AREA_UNSUPPORTED
 */
export function parsePublicArea(bytes: Uint8Array, what = 'the public area'): PublicArea {
  const reader = new ByteReader(bytes, what, 'PUBLIC_AREA_MALFORMED');
  const type = reader.u16();
  if (type !== ALGORITHM.rsa && type !== ALGORITHM.ecc)
    throw unsupported(what, 'is of an object type other than a key');
  const nameAlg = readHash(reader, what);
  const attributes = parseAttributes(reader.u32());
  if (attributes === undefined) throw reader.malformed('has reserved attributes');
  const authPolicy = reader.sized();
  if (authPolicy.length !== 0 && authPolicy.length !== HASHES[nameAlg].bytes) {
    throw reader.malformed('has a policy that is no digest of its name algorithm');
  }
  const symmetricBits = readSymmetric(reader, what);
  const scheme = readScheme(reader, type === ALGORITHM.rsa ? RSA_SCHEMES : ECC_SCHEMES, what);
  const shared = { nameAlg, attributes, authPolicy, symmetricBits, scheme };
  const area = type === ALGORITHM.rsa ? readRsa(reader, shared, what) : readEcc(reader, shared, what);
  reader.end();
  return area;
}

/** @param bytes TPM2B_PUBLIC: what TPM2_Create, TPM2_ReadPublic and the tools' files carry. */
export function parseSizedPublicArea(bytes: Uint8Array, what = 'the public area'): PublicArea {
  const reader = new ByteReader(bytes, what, 'PUBLIC_AREA_MALFORMED');
  const inner = reader.sized();
  reader.end();
  return parsePublicArea(inner, what);
}

function readRsa(reader: ByteReader, shared: PublicAreaOfAnyType, what: string): RsaPublicArea {
  const keyBits = reader.u16();
  if (![1024, 2048, 3072, 4096].includes(keyBits)) throw unsupported(what, `is an RSA key of ${keyBits} bits`);
  const exponent = reader.u32();
  if (exponent !== 0 && (exponent < 3 || exponent % 2 === 0)) throw reader.malformed('has no RSA exponent');
  const modulus = reader.sized();
  if (modulus.length * 8 !== keyBits || (modulus[0] ?? 0) < 0x80)
    throw reader.malformed(`has no modulus of ${keyBits} bits`);
  return { type: 'rsa', ...shared, keyBits, exponent, modulus };
}

function readEcc(reader: ByteReader, shared: PublicAreaOfAnyType, what: string): EccPublicArea {
  const curve = curveOfId(reader.u16());
  if (curve === undefined) throw unsupported(what, 'is on another curve than P-256, P-384 and P-521');
  // Part 2, 12.2.3.6: no command uses the key derivation scheme; it is TPM_ALG_NULL.
  if (reader.u16() !== ALGORITHM.nothing) throw unsupported(what, 'has a key derivation scheme');
  const x = reader.sized();
  const y = reader.sized();
  for (const coordinate of [x, y]) {
    if (coordinate.length === 0 || coordinate.length > CURVES[curve].bytes)
      throw reader.malformed(`has no point of ${curve}`);
  }
  return { type: 'ecc', ...shared, curve, x, y };
}

function readHash(reader: ByteReader, what: string): TpmHash {
  const name = hashOfId(reader.u16());
  if (name === undefined) throw unsupported(what, 'names another hash than SHA-1 and SHA-2');
  return name;
}

function readSymmetric(reader: ByteReader, what: string): PublicArea['symmetricBits'] {
  const algorithm = reader.u16();
  if (algorithm === ALGORITHM.nothing) return undefined;
  const bits = algorithm === ALGORITHM.aes ? reader.u16() : 0;
  if ((bits !== 128 && bits !== 192 && bits !== 256) || reader.u16() !== ALGORITHM.cfb) {
    throw unsupported(what, 'protects its children by another cipher than AES in CFB mode');
  }
  return bits;
}

const RSA_SCHEMES = ['rsassa', 'rsapss', 'oaep', 'rsaes'] as const satisfies KeyScheme['algorithm'][];
const ECC_SCHEMES = ['ecdsa', 'ecdh'] as const satisfies KeyScheme['algorithm'][];

function readScheme(reader: ByteReader, known: readonly KeyScheme['algorithm'][], what: string): KeyScheme | undefined {
  const id = reader.u16();
  if (id === ALGORITHM.nothing) return undefined;
  const algorithm = known.find((name) => ALGORITHM[name] === id);
  if (algorithm === undefined) throw unsupported(what, `has a scheme 0x${id.toString(16)} that is not handled`);
  return algorithm === 'rsaes' ? { algorithm } : { algorithm, hash: readHash(reader, what) };
}

function unsupported(what: string, problem: string): Tpm2Error {
  return new Tpm2Error('PUBLIC_AREA_UNSUPPORTED', `${what} ${problem}`);
}

/** @returns TPMT_PUBLIC. */
export function formatPublicArea(area: PublicArea): Buffer {
  const writer = new ByteWriter()
    .u16(ALGORITHM[area.type])
    .u16(HASHES[area.nameAlg].id)
    .u32(formatAttributes(area.attributes))
    .sized(area.authPolicy);
  if (area.symmetricBits === undefined) writer.u16(ALGORITHM.nothing);
  else writer.u16(ALGORITHM.aes).u16(area.symmetricBits).u16(ALGORITHM.cfb);
  if (area.scheme === undefined) writer.u16(ALGORITHM.nothing);
  else {
    writer.u16(ALGORITHM[area.scheme.algorithm]);
    if (area.scheme.algorithm !== 'rsaes') writer.u16(HASHES[area.scheme.hash].id);
  }
  if (area.type === 'rsa') writer.u16(area.keyBits).u32(area.exponent).sized(area.modulus);
  else writer.u16(CURVES[area.curve].id).u16(ALGORITHM.nothing).sized(area.x).sized(area.y);
  return writer.toBuffer();
}

/** @returns TPM2B_PUBLIC. */
export function formatSizedPublicArea(area: PublicArea): Buffer {
  return new ByteWriter().sized(formatPublicArea(area)).toBuffer();
}

/** The Name of the object (TPM 2.0 Part 1, 16): nameAlg, then the digest of TPMT_PUBLIC. */
export function nameOf(area: PublicArea): Buffer {
  const digest = hash(area.nameAlg, formatPublicArea(area), 'buffer');
  return new ByteWriter().u16(HASHES[area.nameAlg].id).bytes(digest).toBuffer();
}
