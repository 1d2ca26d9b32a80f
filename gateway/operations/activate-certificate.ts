import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { highestProof } from '#gateway/domain/attestation/proof.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';

export type ActivateDeps = { store: Store; clock: Clock };

/**
 * The device has authenticated with a pending certificate: it works, so it becomes the active one, the device counts
 * as enrolled and the ticket is burnt. Older active certificates get an end: they stay good for the group's overlap,
 * because the device may lose power before it has switched.
 */
export async function activateCertificate(
  deps: ActivateDeps,
  serial: SerialNumber,
  overlapSeconds: number,
): Promise<void> {
  const now = deps.clock.now();
  await deps.store.write(async (tables) => {
    const certificate = await tables.certificates.find(serial);
    if (certificate?.state !== 'pending' || certificate.deviceId === null) return;
    const { deviceId, enrollmentId } = certificate;
    await tables.certificates.update(serial, { state: 'active', activatedAt: now, lapseAt: null });
    const device = await tables.devices.find(deviceId);
    if (device !== undefined) {
      // Only upwards: what was proved once is asked for from then on.
      const proofLevel = highestProof(device.proofLevel, certificate.proofLevel ?? 'software');
      const isComing = device.state === 'registered' || device.state === 'revoked';
      if (isComing || proofLevel !== device.proofLevel)
        await tables.devices.update(deviceId, { proofLevel, ...(isComing && { state: 'enrolled' }) });
    }
    for (const older of await tables.certificates.listByDevice(deviceId)) {
      if (older.state === 'active' && older.serial !== serial && older.supersedeAt === null) {
        await tables.certificates.update(older.serial, { supersedeAt: now + overlapSeconds * 1000 });
      }
    }
    if (enrollmentId !== null) await confirmEnrollment(tables, enrollmentId, now);
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: `device:${deviceId}`,
        action: 'certificate.activated',
        subject: deviceId,
        attemptId: enrollmentId,
        detail: `serial ${serial}`,
      }),
    );
  });
}

async function confirmEnrollment(tables: Tables, enrollmentId: string, now: number): Promise<void> {
  const enrollment = await tables.enrollments.find(enrollmentId);
  if (enrollment === undefined) return;
  await tables.enrollments.update(enrollmentId, { state: 'confirmed', updatedAt: now });
  if (enrollment.ticketId !== null) await tables.tickets.update(enrollment.ticketId, { spentAt: now });
}

/**
 * The device reports that it has switched to this certificate (its new generation is durable): the older ones end now.
 * @returns the serials that were superseded.
 */
export async function supersedeOlder(deps: ActivateDeps, serial: SerialNumber): Promise<SerialNumber[]> {
  const current = await deps.store.read.certificates.find(serial);
  // One that has itself been followed by another says nothing about the others.
  if (current?.state !== 'active' || current.supersedeAt !== null || current.deviceId === null) return [];
  const { deviceId } = current;
  const isOlder = (other: Pick<CertificateRecord, 'serial' | 'state' | 'supersedeAt'>) =>
    other.serial !== serial && other.state === 'active' && other.supersedeAt !== null;
  // Most reports change nothing: look first, write only when there is something to write.
  if (!(await deps.store.read.certificates.listByDevice(deviceId)).some(isOlder)) return [];
  const now = deps.clock.now();
  return deps.store.write(async (tables) => {
    const older = (await tables.certificates.listByDevice(deviceId)).filter(isOlder);
    for (const { serial: replaced } of older) {
      await tables.certificates.update(replaced, { state: 'superseded' });
      await tables.audit.append(
        auditEntry({
          at: now,
          actor: `device:${deviceId}`,
          action: 'certificate.superseded',
          subject: deviceId,
          detail: `serial ${replaced} by ${serial}`,
        }),
      );
    }
    return older.map((certificate) => certificate.serial);
  });
}
