import { hasNoRevAvail } from '#ca/pkix/no-rev-avail.ts';
import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { HOLD, isHeld, stateByDates, supersededAt } from '#gateway/domain/revocable.ts';
import type { Tables } from '#gateway/ports/store.ts';

type Marked = Pick<
  CertificateRecord,
  'serial' | 'deviceId' | 'notAfter' | 'issuerKeyId' | 'state' | 'supersedeAt' | 'revocationReason' | 'der'
>;

/**
 * One certificate revoked on the record: its state and its line for the CRL, inside the caller's transaction. The
 * caller audits why, and afterwards tells the deny set. One on hold may be revoked for good.
 */
export async function markRevoked(
  tables: Tables,
  certificate: Marked,
  order: { reason: RevocationReason; now: number; requestedBy: string },
): Promise<void> {
  const { serial, deviceId, notAfter, issuerKeyId, der } = certificate;
  const { reason, now, requestedBy } = order;
  const revoked = { state: 'revoked', revokedAt: now, revocationReason: reason } as const;
  await tables.certificates.update(serial, { ...revoked, ...keptForTheEndOfAHold(certificate, order) });
  // Of two revocations the first stands, except that a hold is only until something better is known.
  if (isHeld(certificate)) await tables.revocations.remove(serial);
  await tables.revocations.insert({
    serial,
    deviceId,
    reason,
    revokedAt: now,
    notAfter,
    requestedBy,
    closedAfterMs: null,
  });
  const change = hasNoRevAvail(der) ? 'revoked-unlisted' : 'revoked';
  await tables.statusChanges.append({ serial, issuerKeyId, change, reason, at: now, notAfter });
}

/** What was replaced before the hold is so after it, also one whose overlap was not over when its device had switched. */
function keptForTheEndOfAHold(
  { state, supersedeAt }: Marked,
  { reason, now }: { reason: RevocationReason; now: number },
): { supersedeAt?: number } {
  return reason === HOLD && state === 'superseded' ? { supersedeAt: supersededAt({ supersedeAt }, now) } : {};
}

/** One certificate on hold good again on the record, inside the caller's transaction; the deny set is told afterwards. */
export async function markReleased(tables: Tables, certificate: CertificateRecord, now: number): Promise<void> {
  const { serial, issuerKeyId, notAfter } = certificate;
  await tables.certificates.update(serial, {
    state: stateByDates(certificate, now),
    revokedAt: null,
    revocationReason: null,
  });
  await tables.revocations.remove(serial);
  await tables.statusChanges.append({ serial, issuerKeyId, change: 'released', reason: HOLD, at: now, notAfter });
}
