import type { CertificateRecord } from './certificate-record.ts';

export const HOLD = 'certificateHold';

type Standing = Pick<CertificateRecord, 'state' | 'notAfter' | 'revocationReason'>;

export function isHeld({ state, revocationReason }: Pick<Standing, 'state' | 'revocationReason'>): boolean {
  return state === 'revoked' && revocationReason === HOLD;
}

/** It may still be let in somewhere: revoking it says something new. */
export function isRevocable(certificate: Standing, now: number): boolean {
  const { state, notAfter } = certificate;
  const isStanding = state === 'pending' || state === 'active' || state === 'superseded';
  return notAfter >= now && (isStanding || isHeld(certificate));
}

/**
 * The same of one that is named, by itself, its key or its lineage: one that has ended counts too, since a group that
 * grants grace would still let it re-enroll.
 */
export function isNamedRevocable(certificate: Standing): boolean {
  return certificate.state !== 'revoked' || isHeld(certificate);
}

/**
 * The same of all that an issuer has made: also what has ended when its device has used it last, as far as it tells
 * itself, and for the same reason. What was replaced has no way back.
 */
export function isIssuerRevocable(
  certificate: Standing & Pick<CertificateRecord, 'activatedAt' | 'supersedeAt'>,
  now: number,
): boolean {
  if (isRevocable(certificate, now)) return true;
  const { state, activatedAt, supersedeAt } = certificate;
  return (state === 'active' || state === 'expired') && activatedAt !== null && supersedeAt === null;
}

/** What a certificate is again when its hold ends. What its dates say meanwhile, the sweep does. */
export function stateAfterHold(
  { notAfter, activatedAt, supersedeAt }: Pick<CertificateRecord, 'notAfter' | 'activatedAt' | 'supersedeAt'>,
  now: number,
): 'pending' | 'active' | 'superseded' | 'expired' {
  if (notAfter <= now) return 'expired';
  if (activatedAt === null) return 'pending';
  return supersedeAt !== null && supersedeAt <= now ? 'superseded' : 'active';
}
