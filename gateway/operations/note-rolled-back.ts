import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseRolledBack, type RolledBack } from '#gateway/contract/reports.ts';
import type { AuditBudget } from '#gateway/domain/audit-budget.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { BackgroundWrites } from './background-writes.ts';

export type RolledBackDeps = {
  background: Pick<BackgroundWrites, 'add'>;
  log: Log;
  clock: Clock;
  refusals: AuditBudget;
};

/**
 * A device tells that its new certificate did not work and that it has gone back to the one before. It says so in every
 * report until a renewal succeeds; the first one goes into the audit. To be called before the report itself is kept.
 * What it says is believed of its own certificates alone, and the time of the entry is ours: a device that lies writes
 * its own story, but neither another's nor the past, and not without end.
 */
export function noteRolledBack(
  { background, log, clock, refusals }: RolledBackDeps,
  deviceId: DeviceId,
  rolledBack: RolledBack,
): void {
  background.add(async (tables) => {
    const device = await tables.devices.find(deviceId);
    if (device === undefined || lastRolledBack(device)?.serial === rolledBack.serial) return;
    const { serial, reason } = rolledBack;
    if ((await tables.certificates.find(serial))?.deviceId !== deviceId) return;
    const now = clock.now();
    if (!refusals.take(`rolled back ${deviceId}`, now)) return;
    log.warn('device went back to its certificate before', { deviceId, serial, reason });
    await tables.audit.append(
      auditEntry({
        at: now,
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
