import type { CertifiedProofLevel } from '#ca/pkix/proof-level.ts';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';

export { isSerialNumber, type SerialNumber } from '#ca/pkix/serial-number.ts';

/**
 * What the registration authority asks to be certified. The profile owns every extension and the bounds of the
 * lifetime; an order only names the subject and brings the public key.
 */
export type IssuanceOrder = {
  /** Chosen and recorded by the registration authority before it asks, so that a lost answer can be found again. */
  serial: SerialNumber;
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Buffer;
  /** Seconds; refused outside the profile's bounds, cut at the issuer's notAfter. */
  lifetimeSeconds: number;
} & OrderedSubject;

type OrderedSubject =
  | {
      profile: 'device';
      deviceId: string;
      hardwareSerial?: string;
      /** What the registration authority verified about the key; left out for a software key. */
      proofLevel?: CertifiedProofLevel;
      /** No status will be published of it, and it says so (RFC 9608); only for short lives. */
      noRevAvail?: boolean;
    }
  /** At most an hour: the right to one first enrollment of this device. */
  | { profile: 'device-bootstrap'; deviceId: string }
  | { profile: 'registrar'; name: string }
  | { profile: 'gateway-server'; dnsNames: string[]; ipAddresses: string[] }
  | { profile: 'notice-signer' }
  | {
      profile: 'ocsp-responder';
      /** For whose certificates it answers: only that very CA may appoint it (RFC 6960 4.2.2.2); left out: the issuer in use. */
      issuerKeyId?: string;
    };
