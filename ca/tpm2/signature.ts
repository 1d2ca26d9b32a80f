import { verify } from 'node:crypto';
import { integer, sequence } from '#ca/pkix/der.ts';
import { ALGORITHM, hashOfId, type TpmHash } from './algorithms.ts';
import { ByteReader } from './byte-reader.ts';
import type { PublicArea } from './public-area.ts';
import { importPublicArea } from './public-area-key.ts';
import { Tpm2Error } from './tpm-error.ts';

/** TPMT_SIGNATURE (TPM 2.0 Part 2, 11.3.4) of the two schemes an attestation key may have. */
export type TpmSignature =
  | { algorithm: 'ecdsa'; hash: TpmHash; r: Buffer; s: Buffer }
  | { algorithm: 'rsassa'; hash: TpmHash; value: Buffer };

/** @throws Tpm2Error SIGNATURE_MALFORMED */
export function parseTpmSignature(bytes: Uint8Array): TpmSignature {
  const reader = new ByteReader(bytes, 'the TPM signature', 'SIGNATURE_MALFORMED');
  const algorithm = reader.u16();
  if (algorithm !== ALGORITHM.ecdsa && algorithm !== ALGORITHM.rsassa)
    throw reader.malformed('is neither ECDSA nor RSASSA');
  const hash = hashOfId(reader.u16());
  if (hash === undefined) throw reader.malformed('names an unknown hash');
  const signature: TpmSignature =
    algorithm === ALGORITHM.ecdsa
      ? { algorithm: 'ecdsa', hash, r: reader.sized(), s: reader.sized() }
      : { algorithm: 'rsassa', hash, value: reader.sized() };
  reader.end();
  return signature;
}

/** As evidence and X.509 carry it: ECDSA as DER (RFC 3279 2.2.3), RSA as the bare value of the modulus' size. */
export function formatPlainSignature(signature: TpmSignature): Buffer {
  return signature.algorithm === 'ecdsa'
    ? sequence(integer(signature.r), integer(signature.s))
    : Buffer.from(signature.value);
}

/** The signature scheme of an attestation key: always the key's own, never what the evidence says. */
export type AttestationScheme = { algorithm: 'ecdsa' | 'rsassa'; hash: TpmHash };

/** @returns undefined when the key is bound to no scheme, or to one that is not for attestation here. */
export function attestationSchemeOf({ scheme }: PublicArea): AttestationScheme | undefined {
  if (scheme?.algorithm !== 'ecdsa' && scheme?.algorithm !== 'rsassa') return undefined;
  return { algorithm: scheme.algorithm, hash: scheme.hash };
}

/**
 * ECDSA: DER or TPMT_SIGNATURE. RSASSA: the bare value or TPMT_SIGNATURE.
 * @throws Tpm2Error SIGNATURE_MALFORMED when it is none of these, AK_ALGORITHM when the key has no scheme for this,
 * KEY_UNUSABLE when it is no key
 */
export function isAttestSignatureValid(ak: PublicArea, message: Uint8Array, signature: Uint8Array): boolean {
  const scheme = attestationSchemeOf(ak);
  if (scheme === undefined) throw new Tpm2Error('AK_ALGORITHM', 'the attestation key is bound to no signature scheme');
  const key = importPublicArea(ak);
  const plain = isPlain(ak, signature) ? signature : plainOf(parseTpmSignature(signature), scheme);
  try {
    return plain !== undefined && verify(scheme.hash, message, key, plain);
  } catch {
    return false;
  }
}

/** TPMT_SIGNATURE starts with 00; an RSA value may do so too, but then it is as long as the modulus. */
function isPlain(ak: PublicArea, signature: Uint8Array): boolean {
  return ak.type === 'rsa' ? signature.length === ak.modulus.length : signature[0] === 0x30;
}

function plainOf(signature: TpmSignature, scheme: AttestationScheme): Buffer | undefined {
  const isOfScheme = signature.algorithm === scheme.algorithm && signature.hash === scheme.hash;
  return isOfScheme ? formatPlainSignature(signature) : undefined;
}
