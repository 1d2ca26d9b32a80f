import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Tables } from '#gateway/ports/store.ts';

/**
 * One certificate revoked on the record: its state and its line for the CRL, inside the caller's transaction. The
 * caller audits why, and afterwards tells the deny set.
 */
export async function markRevoked(
  tables: Tables,
  { serial, deviceId, notAfter }: Pick<CertificateRecord, 'serial' | 'deviceId' | 'notAfter'>,
  order: { reason: RevocationReason; now: number; requestedBy: string },
): Promise<void> {
  const { reason, now, requestedBy } = order;
  await tables.certificates.update(serial, { state: 'revoked', revokedAt: now, revocationReason: reason });
  await tables.revocations.insert({
    serial,
    deviceId,
    reason,
    revokedAt: now,
    notAfter,
    requestedBy,
    closedAfterMs: null,
  });
}
