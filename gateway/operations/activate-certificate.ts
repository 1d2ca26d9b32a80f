import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { highestProof } from '#gateway/domain/attestation/proof.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { isBarred } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { supersededAt } from '#gateway/domain/revocable.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { noteRenewed } from './campaign-results.ts';
import { endClaim } from './end-claim.ts';
import { isGroundStanding } from './enrollment-grounds.ts';
import { hasNewcomerSince } from './queue-request.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';

export type ActivateDeps = { store: Store } & ShutOutDeps;

/** Of one that has a successor in use: nothing is planned for it. */
const NOT_TO_BE_RENEWED = { renewFrom: null, renewUntil: null };

/**
 * The device has authenticated with a pending certificate: it works, so it becomes the active one, the device counts
 * as enrolled and the ticket is burnt. Older active certificates get an end: they stay good for the group's overlap,
 * because the device may lose power before it has switched.
 * @throws GatewayError CERTIFICATE_REVOKED, DEVICE_NOT_ALLOWED when what gave the right to it was taken back meanwhile
 */
export async function activateCertificate(
  deps: ActivateDeps,
  serial: SerialNumber,
  overlapSeconds: number,
): Promise<void> {
  const now = deps.clock.now();
  const claims = await deps.store.write(async (tables) => {
    const certificate = await tables.certificates.find(serial);
    if (certificate?.state === 'active') return [];
    // Read again inside: it may have been revoked or have lapsed since it was looked at.
    if (certificate?.state !== 'pending' || certificate.deviceId === null) throw notPending(certificate);
    const { deviceId, enrollmentId } = certificate;
    const device = await tables.devices.find(deviceId);
    // In quarantine since it was looked at: it keeps what it has in use, and gets no other.
    if (device !== undefined && isBarred(device))
      throw new GatewayError('DEVICE_NOT_ALLOWED', `this device is ${device.state}`, { subject: { deviceId, serial } });
    const others = (await tables.certificates.listStanding(deviceId)).filter(
      (other) => other.state === 'active' && other.serial !== serial && other.notAfter >= now,
    );
    const enrollment = enrollmentId === null ? undefined : await tables.enrollments.find(enrollmentId);
    const isNewcomer = await requireStanding(tables, certificate, enrollment, others);
    // One issued before another that is in use already does not displace it, nor a renewal one that was used since it
    // was asked for: it is the one that ends. Who came first went on from there. A newcomer has the word of a person,
    // which the device it was given against cannot outrun with a renewal.
    const hasSuccessor =
      !isNewcomer &&
      (others.some((other) => other.issuedAt > certificate.issuedAt) ||
        (await isOvertaken(tables, { certificate, enrollment, others })));
    const endsAt = now + overlapSeconds * 1000;
    await tables.certificates.update(serial, {
      state: 'active',
      activatedAt: now,
      lapseAt: null,
      supersedeAt: hasSuccessor ? endsAt : null,
      ...(hasSuccessor && NOT_TO_BE_RENEWED),
    });
    if (device !== undefined) {
      // Only upwards: what was proved once is asked for from then on.
      const proofLevel = highestProof(device.proofLevel, certificate.proofLevel ?? 'software');
      const isComing = device.state === 'registered' || device.state === 'revoked';
      if (isComing || proofLevel !== device.proofLevel)
        await tables.devices.update(deviceId, { proofLevel, ...(isComing && { state: 'enrolled' }) });
    }
    for (const older of hasSuccessor ? [] : others) {
      if (older.supersedeAt === null) {
        await tables.certificates.update(older.serial, { supersedeAt: endsAt, ...NOT_TO_BE_RENEWED });
        await noteRenewed(tables, { serial: older.serial, by: serial, now });
      }
    }
    const ended = enrollment === undefined ? [] : await confirmEnrollment(tables, enrollment, now);
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
    return ended;
  });
  await shutOut(deps, claims, 'claim spent');
}

function notPending(certificate: CertificateRecord | undefined): GatewayError {
  return new GatewayError('CERTIFICATE_REVOKED', 'this certificate was taken back before it was used', {
    subject: certificate?.deviceId == null ? {} : { deviceId: certificate.deviceId },
  });
}

/**
 * What gave the right to this certificate must still stand, and a newcomer displaces a certificate in use for another
 * key only by a person's word.
 * @returns whether it is such a newcomer
 */
async function requireStanding(
  tables: Tables,
  { deviceId, serial, spkiSha256 }: CertificateRecord,
  enrollment: Enrollment | undefined,
  others: readonly CertificateRecord[],
): Promise<boolean> {
  if (enrollment?.kind !== 'enroll') return false;
  const subject = { serial, ...(deviceId === null ? {} : { deviceId }) };
  if (!(await isGroundStanding(tables, enrollment))) {
    throw new GatewayError('CERTIFICATE_REVOKED', 'the right to this certificate was taken back before it was used', {
      subject,
    });
  }
  const hasOther = others.some((other) => other.spkiSha256 !== spkiSha256);
  if (hasOther && !(await isDisplacementApproved(tables, enrollment))) {
    throw new GatewayError('DEVICE_NOT_ALLOWED', 'this device has another certificate in use; revoke that one first', {
      subject,
    });
  }
  return hasOther;
}

/** A renewal: another one that was renewed with the same certificate is in use, or a newcomer since it was asked for. */
async function isOvertaken(
  tables: Tables,
  {
    certificate,
    enrollment,
    others,
  }: { certificate: CertificateRecord; enrollment: Enrollment | undefined; others: readonly CertificateRecord[] },
): Promise<boolean> {
  const replaced = enrollment?.replacesSerial ?? null;
  if (replaced === null) return false;
  for (const { serial, enrollmentId, activatedAt, supersedeAt } of others) {
    const usedSince = serial !== replaced && supersedeAt === null && (activatedAt ?? 0) >= certificate.issuedAt;
    if (usedSince) return true;
    const sibling = enrollmentId === null ? undefined : await tables.enrollments.find(enrollmentId);
    if (sibling?.replacesSerial === replaced) return true;
  }
  return false;
}

async function isDisplacementApproved(tables: Tables, { requestId }: Enrollment): Promise<boolean> {
  const request = requestId === null ? undefined : await tables.enrollmentRequests.find(requestId);
  return request !== undefined && !(await hasNewcomerSince(tables, request));
}

/** @returns the claim that ends with its ticket */
async function confirmEnrollment(tables: Tables, enrollment: Enrollment, now: number): Promise<CertificateRecord[]> {
  await tables.enrollments.update(enrollment.id, { state: 'confirmed', updatedAt: now });
  const ticket = enrollment.ticketId === null ? undefined : await tables.tickets.find(enrollment.ticketId);
  if (ticket === undefined) return [];
  await tables.tickets.update(ticket.id, { spentAt: now });
  return endClaim(tables, ticket, { now, actor: 'gateway', why: 'its ticket is spent' });
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
  if (!(await deps.store.read.certificates.listStanding(deviceId)).some(isOlder)) return [];
  const now = deps.clock.now();
  const ended = await deps.store.write(async (tables) => {
    const older = (await tables.certificates.listStanding(deviceId)).filter(isOlder);
    for (const { serial: replaced, supersedeAt } of older) {
      const endedAt = supersededAt({ supersedeAt }, now);
      await tables.certificates.update(replaced, { state: 'superseded', supersedeAt: endedAt });
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
    return older;
  });
  await shutOut(deps, ended, 'superseded');
  return ended.map((certificate) => certificate.serial);
}
