import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { reopenRequest } from './issue-recorded.ts';
import { markRevoked } from './mark-revoked.ts';
import type { AcceptedCsr } from './read-csr.ts';

/**
 * A key pair that was made here is sent once and kept nowhere: when its answer was lost, nobody has it, and what was
 * begun for it ends. Inside the transaction that makes another; the caller shuts out what is returned.
 */
export async function discardServerKeys(
  tables: Tables,
  { device, csr, now }: { device: Device; csr: AcceptedCsr; now: number },
): Promise<CertificateRecord[]> {
  const { deviceId } = device;
  for (const enrollment of await tables.enrollments.listUnfinishedByDevice(deviceId)) {
    if (enrollment.serverKeyFor !== csr.spkiSha256) continue;
    await tables.enrollments.update(enrollment.id, { state: 'abandoned', updatedAt: now });
    await reopenRequest(tables, enrollment, now);
  }
  const ended: CertificateRecord[] = [];
  for (const certificate of await tables.certificates.listByDevice(deviceId)) {
    if (certificate.state !== 'pending' || certificate.enrollmentId === null) continue;
    const enrollment = await tables.enrollments.find(certificate.enrollmentId);
    if (enrollment?.serverKeyFor !== csr.spkiSha256) continue;
    await markRevoked(tables, certificate, { reason: 'cessationOfOperation', now, requestedBy: 'gateway' });
    await tables.enrollments.update(enrollment.id, { state: 'abandoned', updatedAt: now });
    await reopenRequest(tables, enrollment, now);
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: 'gateway',
        action: 'certificate.revoked',
        subject: deviceId,
        attemptId: enrollment.id,
        detail: `serial ${certificate.serial}: its key pair was made here and asked for again before it was used`,
      }),
    );
    ended.push(certificate);
  }
  return ended;
}
