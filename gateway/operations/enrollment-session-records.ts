import type { DeviceId } from '#gateway/contract/device-id.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { SessionRecordDeps } from './session-records.ts';

/** A connection that may only ask for the certificate of this device. */
export type EnrollmentSessionRecord = {
  deviceId: DeviceId;
  /** As the issuer of what it came with numbered it. */
  serial: string;
  address: string;
  grounds: 'claim' | 'manufacturer' | 'expired';
  since: number;
};

/** Apart from the device's own sessions: such a connection does not make it a connected device. */
export function recordEnrollmentSessionOpened(deps: SessionRecordDeps, session: EnrollmentSessionRecord): void {
  const { deviceId, serial, address, grounds, since } = session;
  deps.metrics.session('admitted-to-enroll');
  deps.log.info('enrollment session opened', { deviceId, serial, address, grounds });
  if (!deps.sessionRows.take(`enrollment ${deviceId}`, since)) return;
  deps.background.add((tables) =>
    tables.audit.append(
      auditEntry({
        at: since,
        actor: `${grounds}:${serial}`,
        action: 'enrollment-session.opened',
        subject: deviceId,
        detail: `${grounds} certificate ${serial} from ${address}`,
      }),
    ),
  );
}

export function recordEnrollmentSessionClosed(
  deps: SessionRecordDeps,
  session: EnrollmentSessionRecord,
  reason: string,
): void {
  const { deviceId, serial, address, grounds, since } = session;
  const seconds = Math.round((deps.clock.now() - since) / 1000);
  deps.metrics.sessionEnded(reason);
  deps.log.info('enrollment session closed', { deviceId, serial, address, grounds, reason, seconds });
}
