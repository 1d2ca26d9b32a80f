import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { readNotice } from '#device-agent/domain/read-notice.ts';
import type { RevocationsBody } from '#gateway/contract/notice.ts';
import type { TimeKeeper } from './time-keeper.ts';

/**
 * The fleet notice of revocations, verified from these anchors (DER).
 * @returns what it tells, and the CAs that it came with: after a change of the issuing CA the device's own certificate may
 * still be of the old one
 * @throws Error when it is not to be believed
 */
export async function readFleetRevocations(
  payload: Buffer,
  { anchors, time }: { anchors: Buffer[]; time: TimeKeeper },
): Promise<{ body: RevocationsBody; shownIssuers: Buffer[] }> {
  const text = payload.toString('utf8');
  const { notice, signedUntil } = readNotice(text, { anchors, at: time.trustedNow() });
  if (notice.deviceId !== '*' || notice.kind !== 'revocations') throw new Error('it is not for the fleet');
  await time.learn(notice.issuedAt, signedUntil);
  const now = time.trustedNow();
  if (now !== undefined && now > notice.expiresAt) throw new Error('it has expired');
  const shown = parseCompactJws(text).header.x5c.slice(1);
  return { body: notice.body, shownIssuers: shown.map((one) => Buffer.from(one)) };
}
