import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DenySet } from '#gateway/domain/deny-set.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';

export type ShutOutDeps = { denySet: DenySet; broker: Broker; clock: Clock };

/** A clock that is set back makes it last longer. */
const PAST_ITS_END_MS = 24 * 3600_000;

/**
 * After the commit that ended these certificates: none of them is admitted again, and a session one of them still has
 * is closed. A certificate that is good for nothing must not keep what it was good for.
 */
export async function shutOut(
  deps: ShutOutDeps,
  ended: readonly { serial: SerialNumber; deviceId: DeviceId | null; profile: string; notAfter: number }[],
  reason: string,
): Promise<void> {
  if (ended.length === 0) return;
  const serials = ended.map(({ serial }) => serial);
  // Not for longer than it could come in: every renewal of a fleet ends one.
  for (const { serial, notAfter } of ended) deps.denySet.add([serial], notAfter + PAST_ITS_END_MS);
  const sessions = ended
    .flatMap(({ deviceId }) => (deviceId === null ? [] : deps.broker.sessionsOf(deviceId)))
    .filter((session) => serials.includes(session.serial));
  // The session of a claim is not one of its device.
  const claims = ended.filter(({ profile }) => profile === 'device-bootstrap');
  if (claims.length > 0) sessions.push(...deps.broker.markRevoked(claims.map(({ serial }) => serial)));
  if (sessions.length > 0) await deps.broker.close(sessions, reason);
}
