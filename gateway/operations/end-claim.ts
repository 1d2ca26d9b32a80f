import { isSerialNumber } from '#ca/pkix/serial-number.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { markRevoked } from './mark-revoked.ts';

/**
 * The claim made of this ticket opens nothing any more. Inside the caller's transaction; the caller shuts out what is
 * returned.
 */
export async function endClaim(
  tables: Tables,
  { claimSerial, deviceId }: Ticket,
  { now, actor, why }: { now: number; actor: string; why: string },
): Promise<CertificateRecord[]> {
  const claim = isSerialNumber(claimSerial) ? await tables.certificates.find(claimSerial) : undefined;
  if (claim?.state !== 'active') return [];
  await markRevoked(tables, claim, { reason: 'cessationOfOperation', now, requestedBy: actor });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: 'certificate.revoked',
      subject: deviceId,
      detail: `serial ${claim.serial} of a claim: ${why}`,
    }),
  );
  return [claim];
}
