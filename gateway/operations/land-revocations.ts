import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { LONGEST_LIFE_MS } from '#gateway/domain/deny-set.ts';
import type { LiveSession } from '#gateway/ports/broker.ts';
import { type DeliverDeps, deliverPendingNotices } from './deliver-notices.ts';
import type { NoticeAcks } from './notice-acks.ts';
import type { RecordedRevocation } from './record-device-revocation.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';

export type LandDeps = DeliverDeps & ShutOutDeps & { acks: NoticeAcks };

/** How long a device may take to acknowledge that it is revoked before its socket is closed under it. */
const ACK_WAIT_MS = 1000;

/**
 * After the commit, everything at once, however many there are: the deny set; the live sessions marked; each device's
 * notice, acknowledged within a second or not at all; its socket closed, the will suppressed. Only sessions of these
 * very certificates are touched.
 * @param order.decidedAt monotonic milliseconds from which the time to the closed socket counts
 * @returns milliseconds to the closed socket, of those certificates that had a session
 */
export async function landRevocations(
  deps: LandDeps,
  revoked: readonly RecordedRevocation[],
  order: { reason: string; decidedAt: number },
): Promise<Map<SerialNumber, number>> {
  const { denySet, broker, clock } = deps;
  const reason = `revoked: ${order.reason}`;
  const serials = revoked.flatMap((one) => one.serials);
  denySet.add(serials, clock.now() + LONGEST_LIFE_MS);
  const noticeOf = new Map(revoked.flatMap((one) => one.serials.map((serial) => [serial, one.noticeId] as const)));
  const closedAfter = new Map<SerialNumber, number>();
  const land = async (session: LiveSession): Promise<void> => {
    const noticeId = noticeOf.get(session.serial);
    if (noticeId !== undefined) await tell(deps, session, noticeId);
    await broker.close([session], reason);
    closedAfter.set(session.serial, tenths(clock.monotonic() - order.decidedAt));
  };
  await Promise.all([
    ...broker.markRevoked(serials).map(land),
    shutOut(
      deps,
      revoked.flatMap(({ ended }) => ended),
      reason,
    ),
  ]);
  return closedAfter;
}

async function tell(deps: LandDeps, { deviceId }: LiveSession, noticeId: string): Promise<void> {
  const acknowledged = deps.acks.wait(noticeId, ACK_WAIT_MS);
  // A store that fails now must not keep the session open.
  const handed = await deliverPendingNotices(deps, deviceId).catch(() => 0);
  if (handed > 0) await acknowledged;
}

export function tenths(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10;
}
