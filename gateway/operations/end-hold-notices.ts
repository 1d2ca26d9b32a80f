import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice } from '#gateway/contract/notice.ts';
import { HOLD } from '#gateway/domain/revocable.ts';
import type { Tables } from '#gateway/ports/store.ts';

/** The news of a hold that has ended must not reach a device that was offline all the while. */
export async function endHoldNotices(tables: Tables, deviceId: DeviceId, now: number): Promise<void> {
  for (const { id, kind, token } of await tables.notices.listUnfinished(deviceId, now)) {
    if (kind !== 'revoked') continue;
    const notice = parseNotice(parseCompactJws(token).payload);
    if (notice?.kind !== 'revoked' || notice.body.reason !== HOLD) continue;
    await tables.notices.update(id, { state: 'expired', detail: 'the hold ended' });
  }
}
