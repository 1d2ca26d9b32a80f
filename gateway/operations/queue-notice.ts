import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { NoticeBody } from '#gateway/contract/notice.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { NoticeSigner } from '#gateway/ports/notice-signer.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Tables } from '#gateway/ports/store.ts';

export type QueueNoticeDeps = { signer: NoticeSigner; random: Randomness };

/**
 * Writes a signed notice to the outbox, inside the transaction that causes it. Whoever commits that transaction then
 * calls deliverPendingNotices; if nobody does, the device gets it when it next connects.
 * @param life milliseconds until it expires
 */
export async function queueNotice(
  tables: Tables,
  deps: QueueNoticeDeps,
  order: { deviceId: DeviceId; notice: NoticeBody; now: number; life: number; actor: string },
): Promise<NoticeRecord> {
  const { deviceId, notice, now, life } = order;
  // The time is its floor: a gateway restored from an older copy of its store goes on above what it has sent since.
  const seq = await tables.devices.takeNoticeSeq(deviceId, now);
  const id = deps.random.id('n');
  const expiresAt = now + life;
  const record: NoticeRecord = {
    id,
    deviceId,
    seq,
    kind: notice.kind,
    token: deps.signer.sign({ version: 1, id, deviceId, seq, issuedAt: now, expiresAt, ...notice }),
    state: 'outbox',
    createdAt: now,
    expiresAt,
    sentAt: null,
    ackedAt: null,
    detail: null,
  };
  await tables.notices.insert(record);
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: order.actor,
      action: 'notice.queued',
      subject: deviceId,
      detail: `${notice.kind} ${id}`,
    }),
  );
  return record;
}
