import type { DeviceId } from '#gateway/contract/device-id.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { stateByDates, supersededAt } from '#gateway/domain/revocable.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';

export type TakeBackExpiryDeps = { store: Pick<Store, 'write'>; clock: Clock };

/**
 * The sweep has found it expired by a clock that was ahead, and it is not: on record again as what it was. Else an hour of
 * a wrong clock would cost every device a ticket whose certificate ended within that hour. Looked at when it is shown, so
 * that nobody goes through all that ever expired. What was decided about the device meanwhile stands.
 * @returns as it is on record now
 */
export async function takeBackExpiry(
  { store, clock }: TakeBackExpiryDeps,
  certificate: CertificateRecord,
): Promise<CertificateRecord> {
  const now = clock.now();
  if (!isEarly(certificate, now)) return certificate;
  return store.write(async (tables) => {
    const current = await tables.certificates.find(certificate.serial);
    return current === undefined ? certificate : settle(tables, current, now);
  });
}

/** All of a device, inside the caller's transaction, before it is decided by what they are. */
export async function takeBackExpiries(tables: Tables, deviceId: DeviceId, now: number): Promise<void> {
  for (const certificate of await tables.certificates.listByDevice(deviceId)) await settle(tables, certificate, now);
}

async function settle(tables: Tables, certificate: CertificateRecord, now: number): Promise<CertificateRecord> {
  if (!isEarly(certificate, now) || !(await isWanted(tables, certificate))) return certificate;
  const { serial, deviceId, profile, lapseAt } = certificate;
  // Enrolled anew while it was taken for expired: it was replaced without being there to be marked.
  const isOver = await isReplaced(tables, certificate);
  const supersedeAt = isOver ? supersededAt(certificate, now) : certificate.supersedeAt;
  const state = stateByDates({ ...certificate, supersedeAt }, now);
  // Never used, and past its time by any clock.
  if (state === 'pending' && lapseAt !== null && lapseAt <= now) return certificate;
  await tables.certificates.update(serial, { state, supersedeAt });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: 'gateway',
      action: 'certificate.expiry-taken-back',
      subject: deviceId ?? profile,
      detail: `serial ${serial} is ${state}: the clock was ahead when it was found to have expired`,
    }),
  );
  return { ...certificate, state, supersedeAt };
}

function isEarly({ state, notAfter, profile }: CertificateRecord, now: number): boolean {
  return state === 'expired' && profile === 'device' && now < notAfter;
}

/** A revocation passes over what has expired; the device that it was about does not come back by this. */
async function isWanted({ devices }: Pick<Tables, 'devices'>, { deviceId }: CertificateRecord): Promise<boolean> {
  const device = deviceId === null ? undefined : await devices.find(deviceId);
  return device !== undefined && device.state !== 'revoked' && device.state !== 'retired';
}

/** Not by one that was renewed with the same as this and came later: that has an end itself, and nothing goes on from it. */
async function isReplaced(
  { certificates }: Pick<Tables, 'certificates'>,
  { deviceId, serial, issuedAt }: CertificateRecord,
): Promise<boolean> {
  const held = deviceId === null ? [] : await certificates.listByDevice(deviceId);
  const isSuccessor = (other: CertificateRecord) =>
    other.serial !== serial && other.activatedAt !== null && other.supersedeAt === null && other.issuedAt >= issuedAt;
  return held.some(isSuccessor);
}
