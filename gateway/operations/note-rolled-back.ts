import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseRolledBack, type RolledBack } from '#gateway/contract/reports.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { BackgroundWrites } from './background-writes.ts';

/**
 * A device tells that its new certificate did not work and that it has gone back to the one before. It says so in every
 * report until a renewal succeeds; the first one goes into the audit. To be called before the report itself is kept.
 */
export function noteRolledBack(
  { background, log }: { background: Pick<BackgroundWrites, 'add'>; log: Log },
  deviceId: DeviceId,
  rolledBack: RolledBack,
): void {
  background.add(async (tables) => {
    const device = await tables.devices.find(deviceId);
    if (device === undefined || lastRolledBack(device)?.serial === rolledBack.serial) return;
    const { serial, reason, at } = rolledBack;
    log.warn('device went back to its certificate before', { deviceId, serial, reason });
    await tables.audit.append(
      auditEntry({
        at,
        actor: `device:${deviceId}`,
        action: 'certificate.rolled-back',
        subject: deviceId,
        outcome: 'failed',
        detail: `serial ${serial}: ${reason}`,
      }),
    );
  });
}

/** As its last report has it. */
export function lastRolledBack({ lastReport }: Pick<Device, 'lastReport'>): RolledBack | undefined {
  try {
    return parseRolledBack((JSON.parse(lastReport ?? 'null') as { rolledBack?: unknown } | null)?.rolledBack);
  } catch {
    return undefined;
  }
}
