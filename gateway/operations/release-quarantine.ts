import type { QuarantineReleased } from '#gateway/contract/alarm-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { LONGEST_LIFE_MS } from '#gateway/domain/deny-set.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { deliverPendingNotices } from './deliver-notices.ts';
import { endQuarantineNotices } from './end-quarantine-notices.ts';
import { withoutTrail } from './last-report.ts';
import type { QuarantineDeps } from './quarantine-device.ts';
import { queueNotice } from './queue-notice.ts';
import { resolveOpenAlarms } from './resolve-alarms.ts';

export type ReleaseOrder = { deviceId: DeviceId; decision: string; actor: string };

/**
 * Ends a quarantine and the alarms that are open about the device. What was reported so far counts no more: whoever
 * reports next is taken for the original. If a copy still lives, the alarm comes again.
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function releaseQuarantine(deps: QuarantineDeps, order: ReleaseOrder): Promise<QuarantineReleased> {
  const { deviceId, decision, actor } = order;
  const now = deps.clock.now();
  const alarms = await deps.store.write(async (tables) => {
    const device = await tables.devices.find(deviceId);
    if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
    if (device.state !== 'quarantined') {
      throw new GatewayError('STATE_CONFLICT', `"${deviceId}" is not in quarantine: it is ${device.state}`);
    }
    const lastReport = withoutTrail(device.lastReport);
    await tables.devices.update(deviceId, { state: 'enrolled', reportCount: null, lastReport });
    await tables.audit.append(
      auditEntry({ at: now, actor, action: 'device.quarantine-released', subject: deviceId, detail: decision }),
    );
    await endQuarantineNotices(tables, { deviceId, now, why: 'the quarantine was ended' });
    // Until it hears this, the device believes that it is in quarantine, however long it is away.
    const notice = { kind: 'quarantine', body: { active: false, reason: decision } } as const;
    await queueNotice(tables, deps, { deviceId, now, life: LONGEST_LIFE_MS, actor, notice });
    return resolveOpenAlarms(tables, { ...order, now });
  });
  deps.trails.forget(deviceId);
  deps.quarantined.delete(deviceId);
  deps.broker.setQuarantined(deviceId, false);
  await deliverPendingNotices(deps, deviceId);
  deps.log.warn('device released from quarantine', { deviceId, decision, actor, alarms });
  return { deviceId, alarms };
}
