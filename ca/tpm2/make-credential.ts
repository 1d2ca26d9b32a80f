import { constants, createCipheriv, createECDH, createHmac, type ECDH, publicEncrypt } from 'node:crypto';
import { CURVES, HASHES } from './algorithms.ts';
import { ByteWriter } from './byte-writer.ts';
import { deriveCredentialKeys } from './credential-keys.ts';
import { ENDORSEMENT_KINDS, type EndorsementKind, endorsementKindOf } from './endorsement-kind.ts';
import { formatLabel, kdfE } from './kdf.ts';
import type { EccPublicArea, PublicArea, RsaPublicArea } from './public-area.ts';
import { formatPoint, importPublicArea } from './public-area-key.ts';
import { Tpm2Error } from './tpm-error.ts';

export type CredentialRequest = {
  /** From the endorsement certificate: see endorsementAreaOf. */
  ekPublic: PublicArea;
  /** Name of the attestation key that must share the TPM. */
  akName: Uint8Array;
  /** 1 octet up to the digest size of the endorsement key: 32 always fit. */
  secret: Uint8Array;
  /** A cryptographic source. */
  random: (size: number) => Buffer;
};

export type Credential = {
  /** TPM2B_ID_OBJECT. */
  credentialBlob: Buffer;
  /** TPM2B_ENCRYPTED_SECRET. */
  encryptedSecret: Buffer;
};

/**
 * TPM2_MakeCredential (TPM 2.0 Part 1, 24; Part 3, 12.6) without a TPM: only a TPM that holds the endorsement key and
 * an object of this Name can answer with the secret.
 * @throws Tpm2Error EK_UNSUPPORTED, KEY_UNUSABLE
 */
export function makeCredential({ ekPublic, akName, secret, random }: CredentialRequest): Credential {
  const kind = endorsementKindOf(ekPublic);
  const { hash } = ENDORSEMENT_KINDS[kind];
  if (secret.length === 0 || secret.length > HASHES[hash].bytes)
    throw new RangeError('a credential holds 1 octet to one digest');
  const { seed, encrypted } =
    ekPublic.type === 'rsa' ? encryptSeed(ekPublic, kind, random) : agreeOnSeed(ekPublic, kind, random);
  const { cipher, symmetricKey, hmacKey } = deriveCredentialKeys(kind, seed, akName);
  // The key is used once, so the zero IV of the specification repeats nothing.
  const encryption = createCipheriv(cipher, symmetricKey, Buffer.alloc(16));
  const encIdentity = Buffer.concat([encryption.update(new ByteWriter().sized(secret).toBuffer()), encryption.final()]);
  const integrity = createHmac(hash, hmacKey).update(encIdentity).update(akName).digest();
  return {
    credentialBlob: new ByteWriter().sized(new ByteWriter().sized(integrity).bytes(encIdentity).toBuffer()).toBuffer(),
    encryptedSecret: new ByteWriter().sized(encrypted).toBuffer(),
  };
}

type Seed = { seed: Buffer; encrypted: Buffer };

/** Part 1, B.10.3: RSAES-OAEP, the label with its terminating zero. */
function encryptSeed(ek: RsaPublicArea, kind: EndorsementKind, random: CredentialRequest['random']): Seed {
  const { hash } = ENDORSEMENT_KINDS[kind];
  const seed = random(HASHES[hash].bytes);
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash, oaepLabel: formatLabel('IDENTITY') };
  const key = importPublicArea(ek);
  try {
    return { seed, encrypted: publicEncrypt({ key, ...oaep }, seed) };
  } catch (cause) {
    // A number that is no RSA modulus (an even one, say) is noticed by OpenSSL only now.
    throw new Tpm2Error('KEY_UNUSABLE', 'nothing can be encrypted for the endorsement key', { cause });
  }
}

/** Part 1, C.6.1: one-pass ECDH with an ephemeral key. */
function agreeOnSeed(ek: EccPublicArea, kind: EndorsementKind, random: CredentialRequest['random']): Seed {
  const { hash } = ENDORSEMENT_KINDS[kind];
  const size = CURVES[ek.curve].bytes;
  const ekPoint = formatPoint(ek);
  const ephemeral = makeEphemeralKey(ek, random);
  const point = ephemeral.getPublicKey();
  const x = point.subarray(1, 1 + size);
  const y = point.subarray(1 + size);
  const seed = kdfE(
    hash,
    sharedX(ephemeral, ekPoint),
    'IDENTITY',
    HASHES[hash].bytes * 8,
    x,
    ekPoint.subarray(1, 1 + size),
  );
  return { seed, encrypted: new ByteWriter().sized(x).sized(y).toBuffer() };
}

/** A number as large as the order of the curve is no private key; of random ones hardly any is. */
const MAX_TRIES = 8;

function makeEphemeralKey({ curve }: EccPublicArea, random: CredentialRequest['random']): ECDH {
  const ephemeral = createECDH(CURVES[curve].openssl);
  for (let attempt = 1; ; attempt += 1) {
    try {
      ephemeral.setPrivateKey(random(CURVES[curve].bytes));
      return ephemeral;
    } catch (cause) {
      if (attempt === MAX_TRIES) throw new RangeError('the random source gives no private key', { cause });
    }
  }
}

function sharedX(ephemeral: ECDH, ekPoint: Buffer): Buffer {
  try {
    return ephemeral.computeSecret(ekPoint);
  } catch (cause) {
    throw new Tpm2Error('KEY_UNUSABLE', 'the endorsement key is not on its curve', { cause });
  }
}
