import { constants, createECDH, generateKeyPairSync, privateDecrypt } from 'node:crypto';
import { CURVES, HASHES } from '#ca/tpm2/algorithms.ts';
import { ByteReader } from '#ca/tpm2/byte-reader.ts';
import { ENDORSEMENT_KINDS, type EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { formatLabel, kdfE } from '#ca/tpm2/kdf.ts';
import type { PublicArea } from '#ca/tpm2/public-area.ts';
import { formatPoint } from '#ca/tpm2/public-area-key.ts';
import { endorsementTemplate } from '#ca/tpm2/templates.ts';
import { TpmRefusal } from './tpm-refusal.ts';

export type EndorsementKey = {
  publicArea: PublicArea;
  /** @param encrypted content of TPM2B_ENCRYPTED_SECRET. @throws TpmRefusal, Tpm2Error */
  recoverSeed: (encrypted: Buffer) => Buffer;
};

/** RSA takes a tenth of a second or so to make; the others a fraction of a millisecond. */
export function createEndorsementKey(kind: EndorsementKind): EndorsementKey {
  switch (kind) {
    case 'rsa-2048':
      return createRsaKey();
    case 'ec-p256':
    case 'ec-p384':
      return createEccKey(kind);
  }
}

function createRsaKey(): EndorsementKey {
  const { hash } = ENDORSEMENT_KINDS['rsa-2048'];
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const modulus = Buffer.from(publicKey.export({ format: 'jwk' }).n ?? '', 'base64url');
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash, oaepLabel: formatLabel('IDENTITY') };
  return {
    publicArea: { type: 'rsa', ...endorsementTemplate('rsa-2048'), keyBits: 2048, exponent: 0, modulus },
    recoverSeed: (encrypted) => refuseErrors(() => privateDecrypt({ key: privateKey, ...oaep }, encrypted)),
  };
}

function createEccKey(kind: 'ec-p256' | 'ec-p384'): EndorsementKey {
  const { hash, curve } = ENDORSEMENT_KINDS[kind];
  const { bytes: size, openssl } = CURVES[curve];
  const ecdh = createECDH(openssl);
  const point = ecdh.generateKeys();
  const own = { curve, x: point.subarray(1, 1 + size), y: point.subarray(1 + size) };
  const recoverSeed = (encrypted: Buffer) => {
    const reader = new ByteReader(encrypted, 'the encrypted secret', 'RESPONSE_MALFORMED');
    const ephemeral = { curve, x: reader.sized(), y: reader.sized() };
    reader.end();
    if (ephemeral.x.length > size || ephemeral.y.length > size)
      throw new TpmRefusal('SIZE', 'a coordinate is too long');
    const ephemeralPoint = formatPoint(ephemeral);
    const sharedX = refuseErrors(() => ecdh.computeSecret(ephemeralPoint));
    const partyU = ephemeralPoint.subarray(1, 1 + size);
    return kdfE(hash, sharedX, 'IDENTITY', HASHES[hash].bytes * 8, partyU, own.x);
  };
  return { publicArea: { type: 'ecc', ...endorsementTemplate(kind), ...own }, recoverSeed };
}

function refuseErrors(decrypt: () => Buffer): Buffer {
  try {
    return decrypt();
  } catch (cause) {
    throw new TpmRefusal('VALUE', 'the secret is not for this endorsement key', { cause });
  }
}
