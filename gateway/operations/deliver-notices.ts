import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice } from '#gateway/contract/notice.ts';
import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { NoticeSigner } from '#gateway/ports/notice-signer.ts';
import type { Store } from '#gateway/ports/store.ts';

export type DeliverDeps = { store: Store; clock: Clock; broker: Broker; metrics: Metrics; signer: NoticeSigner };

/** Older than this, a notice is signed anew: the certificate it was signed with may end before the device is back. */
const SIGNATURE_FRESH_MS = 24 * 3600 * 1000;

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
    if (!deps.broker.sendNotice(deviceId, currentToken(deps, notice, now))) break;
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

/** The same notice, id and seq, under a signature the device can still verify. */
function currentToken({ signer }: DeliverDeps, { token, createdAt }: NoticeRecord, now: number): string {
  const jws = parseCompactJws(token);
  const [signedWith] = jws.header.x5c;
  const certificate = signer.certificate?.();
  const isSameSigner = certificate === undefined || signedWith?.equals(certificate) === true;
  if (isSameSigner && now - createdAt < SIGNATURE_FRESH_MS) return token;
  const notice = parseNotice(jws.payload);
  return notice === undefined ? token : signer.sign(notice);
}
