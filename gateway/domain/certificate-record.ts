import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateState, ProofLevel } from '#gateway/contract/operator-api.ts';

/** A certificate we issued, as the gateway's own table knows it: the one source of truth for "may this one come in". */
export type CertificateRecord = {
  serial: SerialNumber;
  /** Subject key id of the issuer, lower-case hexadecimal. */
  issuerKeyId: string;
  /** null for the gateway's own certificates. */
  deviceId: DeviceId | null;
  profile: string;
  spkiSha256: string;
  sha256: string;
  state: CertificateState;
  proofLevel: ProofLevel | null;
  notBefore: number;
  notAfter: number;
  issuedAt: number;
  activatedAt: number | null;
  /** A successor is in use: this one ends here at the latest. */
  supersedeAt: number | null;
  /** Pending and never used: revoked here. */
  lapseAt: number | null;
  revokedAt: number | null;
  revocationReason: string | null;
  enrollmentId: string | null;
  /** Serial of the first certificate it was renewed from, over any number of renewals; null: it is the first. */
  lineageId: string | null;
  /** When the gateway suggests to renew it, milliseconds UTC. */
  renewFrom: number | null;
  renewUntil: number | null;
  der: Buffer;
};

/** When the sweep has to look at this certificate next, or null when nothing more will happen to it. */
export function nextDueAt(
  certificate: Pick<CertificateRecord, 'state' | 'lapseAt' | 'supersedeAt' | 'notAfter'>,
): number | null {
  switch (certificate.state) {
    case 'pending':
      return Math.min(certificate.lapseAt ?? certificate.notAfter, certificate.notAfter);
    case 'active':
      return Math.min(certificate.supersedeAt ?? certificate.notAfter, certificate.notAfter);
    case 'superseded':
      return certificate.notAfter;
    case 'expired':
    case 'revoked':
      return null;
  }
}

export type CertificateRefusal =
  | 'CERTIFICATE_UNKNOWN'
  | 'CERTIFICATE_REVOKED'
  | 'CERTIFICATE_SUPERSEDED'
  | 'CERTIFICATE_EXPIRED'
  | 'CERTIFICATE_NOT_YET_VALID'
  | 'PROFILE_NOT_A_DEVICE';

/** Deny by default: only a pending or active device certificate inside its dates comes in. */
export function judgeCertificate(certificate: CertificateRecord, now: number): CertificateRefusal | undefined {
  if (certificate.state === 'revoked') return 'CERTIFICATE_REVOKED';
  if (certificate.profile !== 'device') return 'PROFILE_NOT_A_DEVICE';
  return judgeStanding(certificate, now);
}

/** State and dates alone, of whatever profile. */
export function judgeStanding(
  certificate: Pick<CertificateRecord, 'state' | 'notBefore' | 'notAfter'>,
  now: number,
): Exclude<CertificateRefusal, 'PROFILE_NOT_A_DEVICE' | 'CERTIFICATE_UNKNOWN'> | undefined {
  if (certificate.state === 'revoked') return 'CERTIFICATE_REVOKED';
  // Both ends of the period count (RFC 5280 4.1.2.5), to the second.
  if (now >= certificate.notAfter + 1000 || certificate.state === 'expired') return 'CERTIFICATE_EXPIRED';
  if (now < certificate.notBefore) return 'CERTIFICATE_NOT_YET_VALID';
  if (certificate.state === 'superseded') return 'CERTIFICATE_SUPERSEDED';
  return undefined;
}
