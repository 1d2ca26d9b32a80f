import type { CertificateRecord } from './certificate-record.ts';

export const HOLD = 'certificateHold';

type Standing = Pick<CertificateRecord, 'state' | 'notAfter' | 'revocationReason'>;

export function isHeld({ state, revocationReason }: Pick<Standing, 'state' | 'revocationReason'>): boolean {
  return state === 'revoked' && revocationReason === HOLD;
}

/**
 * It may still be let in somewhere: revoking it says something new. That goes for what was found to have expired by a clock
 * that was ahead, too.
 */
export function isRevocable(certificate: Standing, now: number): boolean {
  const { state, notAfter } = certificate;
  return notAfter >= now && (state !== 'revoked' || isHeld(certificate));
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

/** When one that is replaced came to its end: at the end of its overlap, or before, when its device had switched. */
export function supersededAt({ supersedeAt }: Pick<CertificateRecord, 'supersedeAt'>, now: number): number {
  return Math.min(supersedeAt ?? now, now);
}

/**
 * A device may come with it and go on from there, now or when its hold ends. What was replaced is revocable as well, and
 * lets nobody in.
 */
export function letsIn(
  certificate: Standing & Pick<CertificateRecord, 'activatedAt' | 'supersedeAt'>,
  now: number,
): boolean {
  if (!isRevocable(certificate, now)) return false;
  const isAsBefore = isHeld(certificate) || certificate.state === 'expired';
  const state = isAsBefore ? stateByDates(certificate, now) : certificate.state;
  return state === 'pending' || state === 'active';
}

/** What a certificate is again when its hold ends, or what it was before it was found to have expired. What its dates say meanwhile, the sweep does. */
export function stateByDates(
  { notAfter, activatedAt, supersedeAt }: Pick<CertificateRecord, 'notAfter' | 'activatedAt' | 'supersedeAt'>,
  now: number,
): 'pending' | 'active' | 'superseded' | 'expired' {
  if (notAfter <= now) return 'expired';
  if (activatedAt === null) return 'pending';
  return supersedeAt !== null && supersedeAt <= now ? 'superseded' : 'active';
}
