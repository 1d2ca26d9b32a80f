import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice, type RenewBody } from '#gateway/contract/notice.ts';
import type { RenewOrdered } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { type DeliverDeps, deliverPendingNotices } from './deliver-notices.ts';
import { type QueueNoticeDeps, queueNotice } from './queue-notice.ts';

export type OrderRenewalDeps = DeliverDeps & QueueNoticeDeps;

/**
 * A `renew` notice for this certificate, inside the caller's transaction. One that the device has not yet finished does
 * for it again.
 */
export async function queueRenewal(
  tables: Tables,
  deps: QueueNoticeDeps,
  order: {
    deviceId: DeviceId;
    active: Pick<CertificateRecord, 'serial' | 'notAfter'>;
    now: number;
    actor: string;
    reason: string;
  },
): Promise<{ noticeId: string; isNew: boolean }> {
  const { deviceId, active, now, actor, reason } = order;
  const unfinished = await tables.notices.listUnfinished(deviceId, now);
  const open = unfinished.find((notice) => {
    const renew = readRenewNotice(notice);
    return renew?.serial === active.serial && renew.planned !== true;
  });
  if (open !== undefined) return { noticeId: open.id, isNew: false };
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
        reason,
        rekey: true,
      },
    },
  });
  return { noticeId: notice.id, isNew: true };
}

/** What a `renew` notice says. @returns undefined when it is of another kind */
export function readRenewNotice({ kind, token }: Pick<NoticeRecord, 'kind' | 'token'>): RenewBody | undefined {
  if (kind !== 'renew') return undefined;
  const notice = parseNotice(parseCompactJws(token).payload);
  return notice?.kind === 'renew' ? notice.body : undefined;
}

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
    const active = (await tables.certificates.listStanding(deviceId)).find(
      // Not one that has a successor: nobody renews with that.
      ({ state, supersedeAt }) => state === 'active' && supersedeAt === null,
    );
    if (active === undefined) {
      throw new GatewayError(
        'STATE_CONFLICT',
        `"${deviceId}" has no active certificate to renew; enroll it with a ticket first`,
      );
    }
    const reason = order.reason ?? 'ordered by an operator';
    const ordered = await queueRenewal(tables, deps, { deviceId, active, now, actor, reason });
    if (!ordered.isNew) return { noticeId: ordered.noticeId, serial: active.serial };
    await tables.audit.append(
      auditEntry({ at: now, actor, action: 'device.renew-ordered', subject: deviceId, detail: order.reason ?? null }),
    );
    return { noticeId: ordered.noticeId, serial: active.serial };
  });
  deps.metrics.notice('queued');
  const handed = await deliverPendingNotices(deps, deviceId);
  return { deviceId, noticeId, serial, delivered: handed > 0 };
}
