import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Broker, LiveSession } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { CsrDesk } from './csr-desk.ts';
import type { DeviceBroker } from './device-broker.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import { sendMessage } from './send-message.ts';
import { endSession, whenClosed } from './session.ts';
import type { SessionTable } from './session-table.ts';

export type SessionBrokerDeps = {
  table: SessionTable;
  aedes: DeviceBroker;
  desk: CsrDesk;
  limits: MqttLimits;
  clock: Clock;
};

/** The broker port over the session table: revocation and notices go straight to the socket they mean. */
export function sessionBroker({ table, aedes, desk, limits, clock }: SessionBrokerDeps): Broker {
  return {
    sessions: () => liveOf(table.members()),
    sessionsOf(deviceId: DeviceId): LiveSession[] {
      const live = table.ofDevice(deviceId)?.member.live;
      return live === undefined ? [] : [live];
    },
    markRevoked(serials: readonly SerialNumber[]): LiveSession[] {
      const marked: LiveSession[] = [];
      for (const serial of serials) {
        const session = table.ofSerial(serial);
        if (session !== undefined) {
          session.member.identity.revoked = true;
          session.member.revokedSince ??= clock.monotonic();
          marked.push(session.member.live);
        }
        const enrolling = table.enrollments.ofSerial(serial)?.member;
        if (enrolling === undefined) continue;
        // There is nothing it would have to acknowledge.
        enrolling.identity.revoked = true;
        enrolling.muted = true;
        marked.push({ ...enrolling.live, serial });
      }
      return marked;
    },
    setQuarantined(deviceId: DeviceId, isQuarantined: boolean): LiveSession[] {
      const member = table.ofDevice(deviceId)?.member;
      if (member === undefined || member.identity.quarantined === isQuarantined) return [];
      member.identity.quarantined = isQuarantined;
      return [member.live];
    },
    sendNotice(deviceId: DeviceId, token: string): boolean {
      const session = table.ofDevice(deviceId);
      if (session === undefined) return false;
      const { listens, muted, noticeTopic } = session.member;
      return listens && !muted && sendMessage(session, noticeTopic, token, limits);
    },
    answerWaiting: (deviceId) => desk.answerWaiting(deviceId),
    async close(sessions: readonly LiveSession[], reason: string): Promise<number> {
      const ending = sessions.flatMap(({ id }) => table.find(id) ?? []);
      let closed = 0;
      for (const session of ending) {
        // The will is not passed on: it is the gateway that ends this, and it knows why.
        if (session.member !== undefined) session.member.muted = true;
        if (endSession(session, reason)) closed += 1;
      }
      await Promise.all(ending.map(whenClosed));
      return closed;
    },
    publishFleet(topic: string, token: string): void {
      if (!topic.startsWith('v1/fleet/')) throw new RangeError(`"${topic}" is not a fleet topic`);
      aedes.publish({ cmd: 'publish', topic, payload: Buffer.from(token), qos: 1, retain: true, dup: false }, ignore);
    },
  };
}

function liveOf(sessions: Iterable<{ member: { live: LiveSession } | undefined }>): LiveSession[] {
  const live: LiveSession[] = [];
  for (const { member } of sessions) if (member !== undefined) live.push(member.live);
  return live;
}

function ignore(): void {}
