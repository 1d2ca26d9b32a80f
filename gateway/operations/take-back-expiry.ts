import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { stateByDates } from '#gateway/domain/revocable.ts';
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
    if (current === undefined || !isEarly(current, now) || !(await isWanted(tables, current)))
      return current ?? certificate;
    const { serial, deviceId, profile } = current;
    // Enrolled anew while it was taken for expired: it was replaced without being there to be marked.
    const supersedeAt = (await isReplaced(tables, current))
      ? Math.min(current.supersedeAt ?? now, now)
      : current.supersedeAt;
    const state = stateByDates({ ...current, supersedeAt }, now);
    // Never used, and past its time by any clock.
    if (state === 'pending' && current.lapseAt !== null && current.lapseAt <= now) return current;
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
    return { ...current, state, supersedeAt };
  });
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
