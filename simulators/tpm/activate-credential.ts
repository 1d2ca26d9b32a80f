import { createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { ByteReader } from '#ca/tpm2/byte-reader.ts';
import { deriveCredentialKeys } from '#ca/tpm2/credential-keys.ts';
import { ENDORSEMENT_KINDS, type EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import type { Credential } from '#ca/tpm2/make-credential.ts';
import { Tpm2Error } from '#ca/tpm2/tpm-error.ts';
import type { EndorsementKey } from './endorsement-key.ts';
import { TpmRefusal } from './tpm-refusal.ts';

/**
 * TPM2_ActivateCredential (TPM 2.0 Part 3, 12.5), the checks of a TPM in its order.
 * @param akName of the object that the credential must have been made for. @returns the secret. @throws TpmRefusal
 */
export function activateCredential(
  kind: EndorsementKind,
  ek: EndorsementKey,
  akName: Buffer,
  credential: Credential,
): Buffer {
  try {
    const { hash } = ENDORSEMENT_KINDS[kind];
    const seed = ek.recoverSeed(contentOf(credential.encryptedSecret));
    const blob = read(contentOf(credential.credentialBlob));
    const integrity = blob.sized();
    const encIdentity = blob.bytes(contentOf(credential.credentialBlob).length - 2 - integrity.length);
    const { cipher, symmetricKey, hmacKey } = deriveCredentialKeys(kind, seed, akName);
    const expected = createHmac(hash, hmacKey).update(encIdentity).update(akName).digest();
    if (integrity.length !== expected.length || !timingSafeEqual(integrity, expected))
      throw new TpmRefusal('INTEGRITY', 'the credential is for another object or another TPM');
    const decryption = createDecipheriv(cipher, symmetricKey, Buffer.alloc(16));
    return contentOf(Buffer.concat([decryption.update(encIdentity), decryption.final()]));
  } catch (error) {
    if (error instanceof Tpm2Error) throw new TpmRefusal('SIZE', 'the credential is none', { cause: error });
    throw error;
  }
}

function read(bytes: Buffer): ByteReader {
  return new ByteReader(bytes, 'the credential', 'RESPONSE_MALFORMED');
}

/** Of a TPM2B, nothing after it. */
function contentOf(bytes: Buffer): Buffer {
  const reader = read(bytes);
  const content = reader.sized();
  reader.end();
  return content;
}
