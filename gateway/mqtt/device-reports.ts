import { mayPublish } from '#gateway/domain/topic-policy.ts';
import type { DeviceMessageKind } from '#gateway/operations/receive-device-message.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { CsrDesk } from './csr-desk.ts';
import type { Intercept } from './device-broker.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import { type DeviceMember, endSession, type Member, type Session, type SessionOf } from './session.ts';
import type { SessionOperations } from './session-operations.ts';
import type { SessionTable } from './session-table.ts';

const REPORT_KINDS = new Set<string>(['ack', 'state'] satisfies DeviceMessageKind[]);

export type ReportDeps = {
  sessionOf: SessionOf;
  operations: Pick<SessionOperations, 'receiveDeviceMessage'>;
  desk: Pick<CsrDesk, 'receive'>;
  table: Pick<SessionTable, 'enrollments'>;
  limits: Pick<MqttLimits, 'maxPendingReports'>;
  log: Log;
};

/**
 * What a device says to the gateway itself goes to the operations and to nobody else: it never reaches the bus that
 * other sessions subscribe to. Telemetry goes on.
 *
 * With QoS 1 aedes acknowledges before this runs, so PUBACK means "arrived", not "done": reports that matter have
 * their own answer, and are sent again until they get it.
 */
export function interceptReports(deps: ReportDeps): Intercept {
  return (client, packet, done) => {
    const session = deps.sessionOf(client);
    const member = session?.member;
    const kind = member === undefined ? '' : packet.topic.slice(member.outPrefix.length);
    const mayPass =
      member !== undefined &&
      !member.muted &&
      packet.topic.startsWith(member.outPrefix) &&
      (!isLimited(member) || mayPublish(member.identity, packet.topic));
    if (session === undefined || member === undefined || !mayPass) {
      done();
      return true;
    }
    if (kind === 'csr') {
      if (member.kind === 'enrollment') deps.table.enrollments.hasAsked(session, member);
      // Not waited for: a system that has to be asked may take seconds, and the device still wants to ping.
      void deps.desk.receive(session, member, toBuffer(packet.payload));
      done();
      return true;
    }
    if (member.kind === 'enrollment') {
      done();
      return true;
    }
    if (!isReportKind(kind)) return false;
    if (member.pendingReports >= deps.limits.maxPendingReports) {
      endSession(session, 'too-many-reports');
      done();
      return true;
    }
    void receive(deps, session, member, kind, toBuffer(packet.payload)).finally(done);
    return true;
  };
}

async function receive(
  { operations, log }: ReportDeps,
  session: Session,
  member: DeviceMember,
  kind: DeviceMessageKind,
  payload: Buffer,
): Promise<void> {
  const { deviceId, serial } = member.live;
  member.pendingReports += 1;
  try {
    await operations.receiveDeviceMessage(member.live, kind, payload);
  } catch (error) {
    log.error('device message failed', { deviceId, serial, kind, address: session.address, error });
  } finally {
    member.pendingReports -= 1;
  }
}

/** What it may not say any more is dropped here: a refusal would end the session, and what still has to be said with it. */
function isLimited({ identity }: Member): boolean {
  return identity.revoked || (identity.kind === 'device' && identity.quarantined === true);
}

function isReportKind(text: string): text is DeviceMessageKind {
  return REPORT_KINDS.has(text);
}

function toBuffer(payload: string | Buffer): Buffer {
  return typeof payload === 'string' ? Buffer.from(payload) : payload;
}
