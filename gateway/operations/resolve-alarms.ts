import type { DeviceId } from '#gateway/contract/device-id.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Tables } from '#gateway/ports/store.ts';

type Resolution = { deviceId: DeviceId; decision: string; actor: string; now: number };

/** One alarm is over, with what was decided. Inside the caller's transaction. */
export async function recordResolved(tables: Tables, order: Resolution & { id: string }): Promise<void> {
  const { id, deviceId, decision, actor, now } = order;
  await tables.identityAlarms.update(id, { state: 'resolved', decision, resolvedAt: now, resolvedBy: actor });
  await tables.audit.append(
    auditEntry({ at: now, actor, action: 'alarm.resolved', subject: deviceId, detail: `${id}: ${decision}` }),
  );
}

/** All that are open about a device. Inside the caller's transaction. @returns their ids */
export async function resolveOpenAlarms(tables: Tables, order: Resolution): Promise<string[]> {
  const open = await tables.identityAlarms.listOpenByDevice(order.deviceId);
  for (const { id } of open) await recordResolved(tables, { ...order, id });
  return open.map(({ id }) => id);
}
