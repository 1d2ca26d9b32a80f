import { createPublicKey, type KeyObject } from 'node:crypto';
import { classifyPublicKey, type KeyKind } from '#ca/pkix/public-key.ts';
import { signatureAlgorithmFor, signMessage } from '#ca/pkix/signature-algorithm.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import type { SignatureAlgorithm, Signer } from '#ca/ports/signer.ts';

/** A Signer on a private key that was read from a file into memory. @throws AuthorityError for a kind of key no CA has */
export function createFileSigner(privateKey: KeyObject): Signer {
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const { kind, description } = classifyPublicKey(publicKey);
  if (kind === undefined) throw new AuthorityError('AUTHORITY_FAILED', `a CA key cannot be ${description}`);
  const algorithm = caAlgorithm(kind);
  return {
    algorithm,
    publicKey,
    // Signs at once: P-256 takes 25 us, less than a trip to another thread.
    sign: async (message) => signMessage(algorithm, message, privateKey),
  };
}

function caAlgorithm(kind: KeyKind): SignatureAlgorithm {
  const algorithm = signatureAlgorithmFor(kind);
  switch (algorithm) {
    case 'ecdsa-sha256':
    case 'ecdsa-sha384':
    case 'ed25519':
    case 'rsa-sha256':
      return algorithm;
    case 'ecdsa-sha512':
    case 'rsa-sha384':
    case 'rsa-sha512':
    case 'rsa-pss-sha256':
    case 'rsa-pss-sha384':
    case 'rsa-pss-sha512':
      throw new AuthorityError('AUTHORITY_FAILED', `a CA key does not sign with ${algorithm}`);
  }
}
