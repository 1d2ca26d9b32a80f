import { HASHES } from './algorithms.ts';
import { ENDORSEMENT_KINDS, type EndorsementKind } from './endorsement-kind.ts';
import { kdfA } from './kdf.ts';

/** The two keys that protect a credential (TPM 2.0 Part 1, 24): which object may have it is part of the first. */
export type CredentialKeys = {
  cipher: 'aes-128-cfb' | 'aes-256-cfb';
  symmetricKey: Buffer;
  hmacKey: Buffer;
};

/** @param seed what the endorsement key alone can recover. @param akName Name of the object the credential is for. */
export function deriveCredentialKeys(kind: EndorsementKind, seed: Uint8Array, akName: Uint8Array): CredentialKeys {
  const { hash, symmetricBits } = ENDORSEMENT_KINDS[kind];
  return {
    cipher: `aes-${symmetricBits}-cfb`,
    symmetricKey: kdfA(hash, seed, 'STORAGE', symmetricBits, akName),
    hmacKey: kdfA(hash, seed, 'INTEGRITY', HASHES[hash].bytes * 8),
  };
}
