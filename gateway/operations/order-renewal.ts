import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { RenewOrdered } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { UNFINISHED_NOTICE_STATES } from '#gateway/domain/notice-record.ts';
import { type DeliverDeps, deliverPendingNotices } from './deliver-notices.ts';
import { type QueueNoticeDeps, queueNotice } from './queue-notice.ts';

export type OrderRenewalDeps = DeliverDeps & QueueNoticeDeps;

/**
 * Tells a device to renew now: a signed `renew` notice goes to the outbox and, when the device is connected, out at
 * once. An order that the device has not yet finished is sent again instead of being stacked.
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function orderRenewal(
  deps: OrderRenewalDeps,
  order: { deviceId: DeviceId; actor: string; reason?: string },
): Promise<RenewOrdered> {
  const now = deps.clock.now();
  const { deviceId, actor } = order;
  const { noticeId, serial } = await deps.store.write(async (tables) => {
    if ((await tables.devices.find(deviceId)) === undefined)
      throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
    const active = (await tables.certificates.listByDevice(deviceId)).find(
      (certificate) => certificate.state === 'active',
    );
    if (active === undefined) {
      throw new GatewayError(
        'STATE_CONFLICT',
        `"${deviceId}" has no active certificate to renew; enroll it with a ticket first`,
      );
    }
    const open = (await tables.notices.listUnfinished(deviceId, now)).find(
      (notice) => notice.kind === 'renew' && UNFINISHED_NOTICE_STATES.includes(notice.state as 'outbox'),
    );
    if (open !== undefined) return { noticeId: open.id, serial: active.serial };
    const notice = await queueNotice(tables, deps, {
      deviceId,
      now,
      life: active.notAfter - now,
      actor,
      notice: {
        kind: 'renew',
        body: {
          serial: active.serial,
          // A window that lies in the past means now (RFC 9773 4.2).
          suggestedWindow: { start: now - 2000, end: now - 1000 },
          reason: order.reason ?? 'ordered by an operator',
          rekey: true,
        },
      },
    });
    await tables.audit.append(
      auditEntry({ at: now, actor, action: 'device.renew-ordered', subject: deviceId, detail: order.reason ?? null }),
    );
    return { noticeId: notice.id, serial: active.serial };
  });
  deps.metrics.notice('queued');
  const handed = await deliverPendingNotices(deps, deviceId);
  return { deviceId, noticeId, serial, delivered: handed > 0 };
}
