import { createPublicKey, type KeyObject } from 'node:crypto';
import type { TpmCurve } from './algorithms.ts';
import { ENDORSEMENT_KINDS, type EndorsementKind } from './endorsement-kind.ts';
import type { ObjectAttribute, ObjectAttributes } from './object-attributes.ts';
import type { EccPublicArea, PublicArea } from './public-area.ts';
import { DEFAULT_RSA_EXPONENT } from './public-area-key.ts';
import { Tpm2Error } from './tpm-error.ts';

/** Made in this TPM and never leaves it. */
const RESIDENT = ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin'] as const satisfies ObjectAttribute[];
/** noDA: without it three power cuts count as three wrong passwords and lock the device out of its own key. */
const OWN_KEY = [...RESIDENT, 'userWithAuth', 'noDA'] as const satisfies ObjectAttribute[];

/** 00030472: storage root key. */
export const SRK_ATTRIBUTES: ObjectAttributes = new Set([...OWN_KEY, 'restricted', 'decrypt']);
/** 00050472: attestation key, which signs only what the TPM itself has made. */
export const AK_ATTRIBUTES: ObjectAttributes = new Set([...OWN_KEY, 'restricted', 'sign']);
/** 00040472: the key of the device's certificate. */
export const DEVICE_KEY_ATTRIBUTES: ObjectAttributes = new Set([...OWN_KEY, 'sign']);
/** 000300b2: endorsement key of the low range. */
export const EK_LOW_ATTRIBUTES: ObjectAttributes = new Set([...RESIDENT, 'adminWithPolicy', 'restricted', 'decrypt']);
/** 000300f2: endorsement key of the high range. */
export const EK_HIGH_ATTRIBUTES: ObjectAttributes = new Set([...EK_LOW_ATTRIBUTES, 'userWithAuth']);

/** TCG EK Credential Profile 2.5, B.6.2: PolicyA, and PolicyB for SHA-384. */
const POLICY_A_SHA256 = '837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa';
const POLICY_B_SHA384 =
  'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12';

/** Everything of an endorsement key's public area but the key: templates L-1, L-2 (low range) and H-3 (high range). */
export function endorsementTemplate(kind: EndorsementKind) {
  const { hash, symmetricBits } = ENDORSEMENT_KINDS[kind];
  const isHigh = kind === 'ec-p384';
  return {
    nameAlg: hash,
    attributes: isHigh ? EK_HIGH_ATTRIBUTES : EK_LOW_ATTRIBUTES,
    authPolicy: Buffer.from(isHigh ? POLICY_B_SHA384 : POLICY_A_SHA256, 'hex'),
    symmetricBits,
    scheme: undefined,
  };
}

/**
 * The public area of an endorsement key of which only the certificate is known: the manufacturer made it from the
 * standard template of its kind.
 * @param spki SubjectPublicKeyInfo of the certificate, DER. @throws Tpm2Error EK_UNSUPPORTED
 */
export function endorsementAreaOf(spki: Uint8Array): PublicArea {
  const key = importEndorsementKey(spki);
  const { modulusLength, publicExponent, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa' && modulusLength === 2048 && publicExponent === BigInt(DEFAULT_RSA_EXPONENT)) {
    const modulus = Buffer.from(key.export({ format: 'jwk' }).n ?? '', 'base64url');
    return { type: 'rsa', ...endorsementTemplate('rsa-2048'), keyBits: 2048, exponent: 0, modulus };
  }
  if (key.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1')
    return eccArea(key, 'P-256', endorsementTemplate('ec-p256'));
  if (key.asymmetricKeyType === 'ec' && namedCurve === 'secp384r1')
    return eccArea(key, 'P-384', endorsementTemplate('ec-p384'));
  throw new Tpm2Error('EK_UNSUPPORTED', 'the endorsement certificate is not for an RSA-2048, P-256 or P-384 key');
}

function importEndorsementKey(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new Tpm2Error('EK_UNSUPPORTED', 'the endorsement key cannot be used', { cause });
  }
}

type EccRest = Omit<EccPublicArea, 'type' | 'curve' | 'x' | 'y'>;

function eccArea(key: KeyObject, curve: TpmCurve, rest: EccRest): EccPublicArea {
  try {
    const { x = '', y = '' } = key.export({ format: 'jwk' });
    return { type: 'ecc', ...rest, curve, x: Buffer.from(x, 'base64url'), y: Buffer.from(y, 'base64url') };
  } catch (cause) {
    // OpenSSL imports the point at infinity, which has no coordinates.
    throw new Tpm2Error('EK_UNSUPPORTED', 'the endorsement key is no point of its curve', { cause });
  }
}

type Point = { x: Buffer; y: Buffer };

const SIGNING_KEY = { type: 'ecc', nameAlg: 'sha256', authPolicy: Buffer.alloc(0), symmetricBits: undefined } as const;

/** P-256, bound to ECDSA with SHA-256: TPM 2.0 Part 2, 12.2.3.6 wants a scheme for restricted signing keys. */
export function attestationKeyArea({ x, y }: Point): EccPublicArea {
  const scheme = { algorithm: 'ecdsa', hash: 'sha256' } as const;
  return { ...SIGNING_KEY, attributes: AK_ATTRIBUTES, scheme, curve: 'P-256', x, y };
}

/** P-256, bound to no scheme, so that it can sign with the hash a TLS handshake picks. */
export function deviceKeyArea({ x, y }: Point): EccPublicArea {
  return { ...SIGNING_KEY, attributes: DEVICE_KEY_ATTRIBUTES, scheme: undefined, curve: 'P-256', x, y };
}
