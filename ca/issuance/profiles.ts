import type { KeyUsage } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import type { KeyKind } from '#ca/pkix/public-key.ts';
import { IssuanceError } from './issuance-error.ts';

const DAY = 24 * 60 * 60;

export type Profile = {
  keyUsage: readonly KeyUsage[];
  extendedKeyUsage: readonly string[];
  /** Seconds, both allowed. */
  lifetime: { least: number; most: number };
  keyKinds: readonly KeyKind[];
  hasSubjectAltName: boolean;
  /** A responder's certificate is not asked about: it would be the one to answer (RFC 6960 4.2.2.2.1). */
  isStatusChecked: boolean;
  /** Seconds of life up to which an order may say that no status will be published (RFC 9608); 0: never. */
  mostWithoutStatus: number;
};

const TLS_KEYS: readonly KeyKind[] = ['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048', 'rsa-3072', 'rsa-4096'];

/** A shorter life is over before the notBefore set-back and a slow network are. */
const LEAST_LIFETIME = 10;

/**
 * Everything this authority certifies; what has no row here is refused, whoever asks. A profile owns every extension
 * and the bounds of the lifetime: an order only names the subject and brings the key.
 * Room for more: `service` is one row here, one case in subject-names.ts, and one more member of the order.
 */
export const PROFILES = {
  device: {
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [OID.clientAuth],
    lifetime: { least: LEAST_LIFETIME, most: 400 * DAY },
    keyKinds: TLS_KEYS,
    hasSubjectAltName: true,
    isStatusChecked: true,
    mostWithoutStatus: 30 * DAY,
  },
  /** A claim: opens the first enrollment of one device, and nothing else. */
  'device-bootstrap': {
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [OID.clientAuth],
    lifetime: { least: LEAST_LIFETIME, most: 3600 },
    keyKinds: TLS_KEYS,
    hasSubjectAltName: true,
    isStatusChecked: true,
    mostWithoutStatus: 0,
  },
  /** Enrolls devices on their behalf (RFC 7030 3.7). */
  registrar: {
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [OID.clientAuth, OID.cmcRa],
    lifetime: { least: LEAST_LIFETIME, most: 400 * DAY },
    keyKinds: TLS_KEYS,
    hasSubjectAltName: true,
    isStatusChecked: true,
    mostWithoutStatus: 0,
  },
  'gateway-server': {
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [OID.serverAuth],
    lifetime: { least: LEAST_LIFETIME, most: 398 * DAY },
    keyKinds: TLS_KEYS,
    hasSubjectAltName: true,
    isStatusChecked: true,
    mostWithoutStatus: 0,
  },
  'notice-signer': {
    keyUsage: ['digitalSignature'],
    // No TLS purpose: the key that speaks to devices in notices is good for nothing else, and no other key for that.
    extendedKeyUsage: [OID.gatehouseNoticeSigner],
    lifetime: { least: LEAST_LIFETIME, most: 90 * DAY },
    // Notices are ES256.
    keyKinds: ['ec-p256'],
    hasSubjectAltName: false,
    isStatusChecked: true,
    mostWithoutStatus: 0,
  },
  /** Answers for the CA whether its certificates are revoked (RFC 6960 4.2.2.2). */
  'ocsp-responder': {
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [OID.ocspSigning],
    // It cannot be taken back, so it ends soon.
    lifetime: { least: LEAST_LIFETIME, most: 7 * DAY },
    keyKinds: ['ec-p256'],
    hasSubjectAltName: false,
    isStatusChecked: false,
    mostWithoutStatus: 0,
  },
} as const satisfies Record<string, Profile>;

export type ProfileName = keyof typeof PROFILES;

/** @throws IssuanceError PROFILE_UNKNOWN */
export function findProfile(name: string): Profile {
  if (!Object.hasOwn(PROFILES, name))
    throw new IssuanceError('PROFILE_UNKNOWN', `there is no profile "${name.slice(0, 40)}"`);
  return PROFILES[name as ProfileName];
}

/** How far notBefore is set back, in milliseconds, so that a device whose clock is a little slow is not refused. */
export const NOT_BEFORE_SET_BACK = 5 * 60 * 1000;
