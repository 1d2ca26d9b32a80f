import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { RevocationReason } from '#ca/revocation/reasons.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { isHeld, isNamedRevocable, isRevocable, letsIn, supersededAt } from '#gateway/domain/revocable.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { endQuarantineNotices } from './end-quarantine-notices.ts';
import { markReleased, markRevoked } from './mark-revoked.ts';
import type { QueueNoticeDeps } from './queue-notice.ts';
import { queueRevokedNotice, type RecordedRevocation } from './record-device-revocation.ts';
import { resolveOpenAlarms } from './resolve-alarms.ts';
import { takeBackExpiries } from './take-back-expiry.ts';

/**
 * This certificate alone, revoked inside the caller's transaction, with what is being made from it or was made and not
 * used yet: whoever had its key may have asked for that. Its device keeps others it has. A device that is left with none
 * to go on from counts as revoked: a new ticket may bring it back.
 * @returns undefined when it was revoked before
 */
export async function recordCertificateRevocation(
  tables: Tables,
  deps: QueueNoticeDeps,
  order: { serial: SerialNumber; reason: RevocationReason; actor: string },
  now: number,
): Promise<RecordedRevocation | undefined> {
  const { serial, reason, actor } = order;
  const certificate = await tables.certificates.find(serial);
  if (certificate === undefined || !isNamedRevocable(certificate)) return undefined;
  const { deviceId, profile } = certificate;
  await revokeOne(tables, certificate, { reason, actor, now, why: reason });
  // A claim goes with its ticket's session, and has no notices.
  if (deviceId === null || profile !== 'device') {
    return { deviceId, serials: [serial], ended: [certificate], noticeId: undefined };
  }
  await takeBackExpiries(tables, deviceId, now);
  await abandonItsRenewals(tables, { ...certificate, deviceId }, now);
  const serials = [serial];
  for (const unused of await listUnused(tables, { ...certificate, deviceId }, now)) {
    // Its own key may be good; it goes because of how it came to be.
    const said = unused.spkiSha256 === certificate.spkiSha256 ? reason : 'cessationOfOperation';
    await revokeOne(tables, unused, { reason: said, actor, now, why: `${said}, unused and made from ${serial}` });
    serials.push(unused.serial);
  }
  const isLast = await isWithoutCertificate(tables, { ...certificate, deviceId }, now);
  const ended = isLast ? await endReplaced(tables, { ...certificate, deviceId }, { actor, now }) : [];
  if (isLast) {
    const device = await tables.devices.find(deviceId);
    if (device?.state === 'enrolled' || device?.state === 'held' || device?.state === 'quarantined') {
      await tables.devices.update(deviceId, { state: 'revoked' });
      const decision = `its last certificate was revoked: ${reason}`;
      await resolveOpenAlarms(tables, { deviceId, decision, actor, now });
      await endQuarantineNotices(tables, { deviceId, now, why: 'the device was revoked' });
      await tables.audit.append(
        auditEntry({
          at: now,
          actor,
          action: 'device.revoked',
          subject: deviceId,
          detail: `its last certificate was revoked: ${reason}`,
        }),
      );
    }
  }
  const advice = isLast
    ? 'an operator revoked this certificate; to come back, stop the agent and enroll again with a new ticket: gatehouse-agent enroll --replace JOIN-URL'
    : 'an operator revoked this certificate; another one of this device is good';
  const noticeId = await queueRevokedNotice(tables, deps, { deviceId, serials, reason, advice, actor, now });
  return { deviceId, serials, ended, noticeId };
}

async function revokeOne(
  tables: Tables,
  certificate: CertificateRecord,
  { reason, actor, now, why }: { reason: RevocationReason; actor: string; now: number; why: string },
): Promise<void> {
  const { serial, deviceId, profile } = certificate;
  await markRevoked(tables, certificate, { reason, now, requestedBy: actor });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: 'certificate.revoked',
      subject: deviceId ?? profile,
      detail: `serial ${serial}: ${why}`,
    }),
  );
}

type OfDevice = CertificateRecord & { deviceId: NonNullable<CertificateRecord['deviceId']> };

/** What is under way to replace it, or for the same key, was asked for before this. */
async function abandonItsRenewals(tables: Tables, { deviceId, serial, spkiSha256 }: OfDevice, now: number) {
  for (const enrollment of await tables.enrollments.listUnfinishedByDevice(deviceId)) {
    if (enrollment.replacesSerial !== serial && enrollment.spkiSha256 !== spkiSha256) continue;
    await tables.enrollments.update(enrollment.id, { state: 'abandoned', updatedAt: now });
  }
}

/**
 * What goes with a certificate of a device: never used, and renewed with this one, or with the one that this one took
 * the place of, or for the same key.
 */
export async function listUnused(
  tables: Pick<Tables, 'certificates' | 'enrollments'>,
  { deviceId, serial, spkiSha256, enrollmentId, activatedAt }: OfDevice,
  now: number,
): Promise<CertificateRecord[]> {
  const replacedOf = async (id: string | null) =>
    (id === null ? undefined : await tables.enrollments.find(id))?.replacesSerial ?? undefined;
  const before = activatedAt === null ? undefined : await replacedOf(enrollmentId);
  const unused: CertificateRecord[] = [];
  for (const other of await tables.certificates.listByDevice(deviceId)) {
    if (other.serial === serial || other.activatedAt !== null || !isRevocable(other, now)) continue;
    const replaced = await replacedOf(other.enrollmentId);
    const isOfIts = replaced !== undefined && (replaced === serial || replaced === before);
    if (isOfIts || other.spkiSha256 === spkiSha256) unused.push(other);
  }
  return unused;
}

async function isWithoutCertificate(tables: Tables, { deviceId, serial }: OfDevice, now: number): Promise<boolean> {
  const others = await tables.certificates.listByDevice(deviceId);
  // One that this has replaced, and that is good for its overlap, is nothing to go on from.
  return !others.some((other) => other.serial !== serial && other.supersedeAt === null && letsIn(other, now));
}

/** What was replaced goes with what has replaced it when nothing else is left: its overlap was for the switch. */
async function endReplaced(
  tables: Tables,
  { deviceId, serial }: OfDevice,
  { actor, now }: { actor: string; now: number },
): Promise<CertificateRecord[]> {
  // Replaced before its device was put on hold: nobody releases that device any more.
  for (const other of await tables.certificates.listByDevice(deviceId))
    if (other.serial !== serial && isHeld(other)) await markReleased(tables, other, now);
  const ended: CertificateRecord[] = [];
  for (const other of await tables.certificates.listByDevice(deviceId)) {
    if (other.serial === serial || other.state !== 'active' || other.supersedeAt === null) continue;
    const supersedeAt = supersededAt(other, now);
    await tables.certificates.update(other.serial, { state: 'superseded', supersedeAt });
    await tables.audit.append(
      auditEntry({
        at: now,
        actor,
        action: 'certificate.superseded',
        subject: deviceId,
        detail: `serial ${other.serial} by ${serial}, which was revoked`,
      }),
    );
    ended.push(other);
  }
  return ended;
}
