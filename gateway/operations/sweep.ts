import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { supersededAt } from '#gateway/domain/revocable.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { expireRequests } from './decide-requests.ts';
import { reopenRequest } from './issue-recorded.ts';
import { markRevoked } from './mark-revoked.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';

export type SweepDeps = ShutOutDeps & { store: Store };

const BATCH = 200;
/** So that a slow device still hears "expired" instead of "unknown". */
const KEEP_EXPIRED_CHALLENGES_MS = 10 * 60_000;

/**
 * What time alone changes: unused certificates lapse, replaced ones end, others expire. Reads by next due time, so the
 * cost is what is due, not the size of the fleet. Lists of what lapsed follow from the table of status changes.
 */
export async function sweep(deps: SweepDeps): Promise<void> {
  const now = deps.clock.now();
  for (;;) {
    const due = await deps.store.read.certificates.listDue(now, BATCH);
    if (due.length === 0) break;
    const ended = await deps.store.write(async (tables) => {
      const lapsed: CertificateRecord[] = [];
      const superseded: CertificateRecord[] = [];
      for (const certificate of due) {
        const became = await advance(tables, certificate.serial, now);
        if (became === 'lapsed') lapsed.push(certificate);
        else if (became === 'superseded') superseded.push(certificate);
      }
      return { lapsed, superseded };
    });
    await shutOut(deps, ended.lapsed, 'lapsed');
    await shutOut(deps, ended.superseded, 'superseded');
    if (due.length < BATCH) break;
  }
  await deps.store.write(async (tables) => {
    await tables.notices.expire(now);
    await expireRequests(tables, now);
    await tables.challenges.removeExpired(now - KEEP_EXPIRED_CHALLENGES_MS);
  });
}

async function advance(tables: Tables, serial: SerialNumber, now: number): Promise<'lapsed' | 'superseded' | 'other'> {
  // Read again inside: it may have been used or revoked since it was listed.
  const certificate = await tables.certificates.find(serial);
  if (certificate === undefined) return 'other';
  const { state, notAfter, lapseAt, supersedeAt } = certificate;
  const subject = certificate.deviceId ?? certificate.profile;
  const say = (action: 'certificate.expired' | 'certificate.lapsed' | 'certificate.superseded') =>
    tables.audit.append(
      auditEntry({
        at: now,
        actor: 'gateway',
        action,
        subject,
        attemptId: certificate.enrollmentId,
        detail: `serial ${serial}`,
      }),
    );
  if (notAfter <= now && state !== 'revoked' && state !== 'expired') {
    // Should the clock have been ahead: then it was superseded before.
    const ended = state === 'superseded' ? { supersedeAt: supersededAt(certificate, now) } : {};
    await tables.certificates.update(serial, { state: 'expired', ...ended });
    // Of a short life, or after a long stop of the gateway: it ended before it could lapse.
    if (state === 'pending') await giveBackRight(tables, certificate, now);
    await say('certificate.expired');
  } else if (state === 'pending' && lapseAt !== null && lapseAt <= now) {
    // Nobody proved to have it, so nobody may have it.
    await markRevoked(tables, certificate, { reason: 'cessationOfOperation', now, requestedBy: 'gateway' });
    await giveBackRight(tables, certificate, now);
    await say('certificate.lapsed');
    return 'lapsed';
  } else if (state === 'active' && supersedeAt !== null && supersedeAt <= now) {
    await tables.certificates.update(serial, { state: 'superseded' });
    await say('certificate.superseded');
    return 'superseded';
  }
  return 'other';
}

/** Issued and never used: its ticket is free for another try, and a person's word stands again. */
async function giveBackRight(
  tables: Tables,
  { serial, enrollmentId }: Pick<CertificateRecord, 'serial' | 'enrollmentId'>,
  now: number,
): Promise<void> {
  if (enrollmentId === null) return;
  const enrollment = await tables.enrollments.find(enrollmentId);
  await tables.enrollments.update(enrollmentId, { state: 'abandoned', updatedAt: now });
  const ticket = enrollment?.ticketId == null ? undefined : await tables.tickets.find(enrollment.ticketId);
  if (enrollment !== undefined) await reopenRequest(tables, enrollment, now);
  if (ticket?.boundSerial === serial)
    await tables.tickets.update(ticket.id, { boundSerial: null, boundSpkiSha256: null });
}
