import type { KeyObject } from 'node:crypto';
import { constants, sign, verify } from 'node:crypto';
import type { Der } from './der.ts';
import { explicit, integer, nullValue, oid, sequence } from './der.ts';
import { OID } from './oids.ts';
import type { KeyKind } from './public-key.ts';
import { importPublicKey } from './public-key.ts';

type Scheme = {
  identifier: Der;
  keyType: 'ec' | 'ed25519' | 'rsa';
  /** null: the algorithm hashes by itself. */
  digest: 'sha256' | 'sha384' | 'sha512' | null;
  pss: boolean;
};

/** Every signature we check or make; anything else, SHA-1 first of all, is refused. */
const SCHEMES = {
  'ecdsa-sha256': scheme('ec', 'sha256', sequence(oid(OID.ecdsaWithSha256))),
  'ecdsa-sha384': scheme('ec', 'sha384', sequence(oid(OID.ecdsaWithSha384))),
  'ecdsa-sha512': scheme('ec', 'sha512', sequence(oid(OID.ecdsaWithSha512))),
  ed25519: scheme('ed25519', null, sequence(oid(OID.ed25519))),
  // RFC 4055 5: the parameters are NULL.
  'rsa-sha256': scheme('rsa', 'sha256', sequence(oid(OID.sha256WithRsaEncryption), nullValue())),
  'rsa-sha384': scheme('rsa', 'sha384', sequence(oid(OID.sha384WithRsaEncryption), nullValue())),
  'rsa-sha512': scheme('rsa', 'sha512', sequence(oid(OID.sha512WithRsaEncryption), nullValue())),
  'rsa-pss-sha256': { ...scheme('rsa', 'sha256', pssIdentifier(OID.sha256, 32)), pss: true },
  'rsa-pss-sha384': { ...scheme('rsa', 'sha384', pssIdentifier(OID.sha384, 48)), pss: true },
  'rsa-pss-sha512': { ...scheme('rsa', 'sha512', pssIdentifier(OID.sha512, 64)), pss: true },
} satisfies Record<string, Scheme>;

export type SignatureAlgorithmName = keyof typeof SCHEMES;

function scheme(keyType: Scheme['keyType'], digest: Scheme['digest'], identifier: Der): Scheme {
  return { identifier, keyType, digest, pss: false };
}

/** RFC 4055 3.1: same hash for message and MGF1, salt as long as the hash. */
function pssIdentifier(digest: string, saltLength: number): Der {
  const hash = sequence(oid(digest), nullValue());
  const parameters = sequence(
    explicit(0, hash),
    explicit(1, sequence(oid(OID.mgf1), hash)),
    explicit(2, integer(saltLength)),
  );
  return sequence(oid(OID.rsassaPss), parameters);
}

const schemes: readonly Scheme[] = Object.values(SCHEMES);

/** AlgorithmIdentifier, DER. */
export function formatSignatureAlgorithm(name: SignatureAlgorithmName): Der {
  return SCHEMES[name].identifier;
}

/** The algorithm a key of this kind signs with. */
export function signatureAlgorithmFor(kind: KeyKind): SignatureAlgorithmName {
  switch (kind) {
    case 'ec-p256':
      return 'ecdsa-sha256';
    case 'ec-p384':
      return 'ecdsa-sha384';
    case 'ed25519':
      return 'ed25519';
    case 'rsa-2048':
    case 'rsa-3072':
    case 'rsa-4096':
      return 'rsa-sha256';
  }
}

/** @returns the signature as X.509 carries it. Synchronous: on few cores the thread pool is slower. */
export function signMessage(name: SignatureAlgorithmName, message: Uint8Array, privateKey: KeyObject): Buffer {
  const { digest, pss } = SCHEMES[name] satisfies Scheme;
  // The bare key is a third faster than an object with options.
  return sign(digest, message, pss ? { key: privateKey, ...PSS } : privateKey);
}

const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };

/**
 * False for a wrong signature, a key of another type, an algorithm not on the list and an unusable key alike.
 * @param identifier AlgorithmIdentifier, DER.
 */
export function isSignatureValid(
  identifier: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
  publicKeySpki: Uint8Array,
): boolean {
  const scheme = schemes.find((candidate) => candidate.identifier.equals(identifier));
  if (scheme === undefined) return false;
  try {
    const key = importPublicKey(publicKeySpki);
    if (key.asymmetricKeyType !== scheme.keyType) return false;
    return verify(scheme.digest, message, scheme.pss ? { key, ...PSS } : key, signature);
  } catch {
    return false;
  }
}
