import { isSerialNumber } from '#ca/pkix/serial-number.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { endClaim } from './end-claim.ts';
import { markRevoked } from './mark-revoked.ts';

/**
 * A ticket that is taken back takes its claim with it, and the certificate that was issued under it and never used:
 * whoever holds that one got it by a right that is gone. Inside the caller's transaction; the caller shuts out what is returned.
 */
export async function takeBackTicket(
  tables: Tables,
  ticket: Ticket,
  order: { now: number; actor: string; why?: string },
): Promise<CertificateRecord[]> {
  const { now, actor } = order;
  const { id, deviceId, boundSerial } = ticket;
  await tables.tickets.update(id, { revokedAt: now });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: 'ticket.revoked',
      subject: deviceId,
      detail: order.why === undefined ? id : `${id}, ${order.why}`,
    }),
  );
  const claims = await endClaim(tables, ticket, { now, actor, why: 'its ticket was taken back' });
  const certificate = isSerialNumber(boundSerial) ? await tables.certificates.find(boundSerial) : undefined;
  if (certificate?.state !== 'pending') return claims;
  await markRevoked(tables, certificate, { reason: 'cessationOfOperation', now, requestedBy: actor });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: 'certificate.revoked',
      subject: deviceId,
      attemptId: certificate.enrollmentId,
      detail: `serial ${certificate.serial}: its ticket was taken back before it was used`,
    }),
  );
  return [certificate, ...claims];
}
