import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { Store } from '#gateway/ports/store.ts';

export type DeliverDeps = { store: Store; clock: Clock; broker: Broker; metrics: Metrics };

/**
 * Hands every unfinished notice of a device to its session, in order of seq. Called when the session has subscribed
 * and after a notice was queued. Sending one again is harmless: it keeps its id and seq.
 * @returns how many were handed over.
 */
export async function deliverPendingNotices(deps: DeliverDeps, deviceId: DeviceId): Promise<number> {
  const now = deps.clock.now();
  const firstSent: string[] = [];
  let handed = 0;
  for (const notice of await deps.store.read.notices.listUnfinished(deviceId, now)) {
    if (!deps.broker.sendNotice(deviceId, notice.token)) break;
    handed += 1;
    deps.metrics.notice('sent');
    if (notice.state === 'outbox') firstSent.push(notice.id);
  }
  if (firstSent.length > 0) {
    await deps.store.write(async (tables) => {
      for (const id of firstSent) {
        // The acknowledgement may have been faster than this line: only an untouched one becomes `sent`.
        if ((await tables.notices.find(id))?.state === 'outbox')
          await tables.notices.update(id, { state: 'sent', sentAt: now });
      }
    });
  }
  return handed;
}
