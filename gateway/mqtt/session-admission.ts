import type { ConnectPacket } from 'aedes';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { DeviceGrant, EnrollmentGrant, SessionGrant } from '#gateway/operations/admit-session.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import { type BrokerClient, welcomeClient } from './broker-client.ts';
import { connackCodeOf } from './connack-codes.ts';
import { type ConnectRequest, formatConnack, readConnect } from './connect-packet.ts';
import { ownSerialOf } from './enrollment-sessions.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import { fingerprintOf, type RefusalLimiter } from './refusal-limiter.ts';
import { endSession, type Session } from './session.ts';
import type { SessionOperations } from './session-operations.ts';
import type { SessionTable } from './session-table.ts';

export type AdmissionDeps = {
  table: SessionTable;
  operations: SessionOperations;
  limiter: RefusalLimiter;
  limits: Pick<MqttLimits, 'connectTimeoutMs' | 'enrollmentPatienceMs'>;
  clock: Clock;
  log: Log;
  /** The address of an admitted session gets its token back. */
  onAdmitted: (address: string) => void;
};

/**
 * Answers a CONNECT. From the registration to CONNACK nothing is awaited: a session that stands in the table has been
 * let in, and one that was let in stands in the table.
 * @returns true when the client was let in; false when it was refused or has gone. Never rejects.
 */
export async function answerConnect(
  deps: AdmissionDeps,
  session: Session,
  client: BrokerClient,
  packet: ConnectPacket,
): Promise<boolean> {
  try {
    const request = readConnect(packet);
    if ('returnCode' in request) {
      const { returnCode, code, detail } = request;
      refuse(deps, session, returnCode, { code, detail });
      return false;
    }
    const grant = await ask(deps, session, request);
    // Gone meanwhile, perhaps displaced by a newer connection of its own: it must not take that one's place.
    if (client.closed || session.socket.destroyed) return false;
    // The certificate is dropped from here on.
    if (session.certificate !== undefined) countAdmission(deps, session.certificate.der, grant);
    if (grant.kind === 'device') acceptDevice(deps, session, client, packet, grant);
    else acceptEnrollment(deps, session, client, packet, grant);
    return true;
  } catch (error) {
    refuseBy(deps, session, error);
    return false;
  }
}

/**
 * What has expired is let in for one question. Each time counts like a refusal, so that who comes again and again does
 * not get further than who is refused, and does not get its address the tokens back.
 */
function countAdmission({ limiter, clock }: AdmissionDeps, der: Buffer, grant: SessionGrant): void {
  if (grant.kind === 'enrollment' && grant.grounds === 'expired')
    limiter.refused(fingerprintOf(der), clock.monotonic());
  else if (!limiter.isEmpty) limiter.admitted(fingerprintOf(der));
}

function ask({ operations }: AdmissionDeps, session: Session, request: ConnectRequest): Promise<SessionGrant> {
  const { certificate, address } = session;
  if (certificate === undefined) throw new Error('a CONNECT without its client certificate');
  const { clientId, keepalive, willTopic } = request;
  return operations.admitSession({
    ...certificate,
    clientId,
    keepalive,
    address,
    ...(willTopic === undefined ? {} : { willTopic }),
  });
}

function acceptDevice(
  { table, operations, clock, onAdmitted }: AdmissionDeps,
  session: Session,
  client: BrokerClient,
  packet: ConnectPacket,
  grant: DeviceGrant,
): void {
  const { deviceId, serial } = grant;
  // A revocation adds to the deny set first and looks into the table second: either it is seen here, or it finds the
  // session there.
  if (!operations.isStillAdmitted(serial)) {
    const subject = { deviceId, serial };
    throw new GatewayError('CERTIFICATE_REVOKED', 'this certificate was revoked a moment ago', { subject });
  }
  const { older, member } = table.register(session, grant, { now: clock.now(), monotonic: clock.monotonic() });
  if (older !== undefined) endSession(older, 'taken-over');
  // As above: a quarantine changes the set first and looks into the table second.
  member.identity.quarantined = operations.isQuarantined(deviceId);
  // The device has come with its own certificate: nobody needs to enroll it any more, and its claim is spent.
  for (const enrolling of table.enrolling(deviceId)) endSession(enrolling, 'enrolled');
  welcomeClient(client, deviceId, packet);
  session.socket.write(formatConnack(0));
  onAdmitted(session.address);
  const { address, since } = member.live;
  const displaced = older?.member?.live;
  operations.recordSessionOpened({
    deviceId,
    serial,
    address,
    since,
    ...(displaced === undefined ? {} : { displaced }),
  });
}

function acceptEnrollment(
  { table, operations, limits, clock, onAdmitted }: AdmissionDeps,
  session: Session,
  client: BrokerClient,
  packet: ConnectPacket,
  grant: EnrollmentGrant,
): void {
  const { deviceId, grounds } = grant;
  const serial = ownSerialOf(grant);
  if (serial !== undefined && !operations.isStillAdmitted(serial)) {
    const subject = { deviceId, serial };
    throw new GatewayError('CERTIFICATE_REVOKED', 'this was spent or revoked a moment ago', { subject });
  }
  const monotonic = clock.monotonic();
  const place = table.enrollments.placeFor(grant, monotonic - limits.enrollmentPatienceMs);
  if (place === 'full')
    throw new GatewayError('OVERLOADED', 'too many connections that enroll', { subject: { deviceId } });
  if (place !== undefined) {
    table.displace(place);
    endSession(place, 'taken-over');
  }
  const member = table.registerEnrollment(session, grant, { now: clock.now(), monotonic });
  welcomeClient(client, deviceId, packet);
  session.socket.write(formatConnack(0));
  onAdmitted(session.address);
  operations.recordEnrollmentSessionOpened({ ...member.live, grounds });
}

function refuseBy(deps: AdmissionDeps, session: Session, error: unknown): void {
  const { limiter, clock, log } = deps;
  if (session.member !== undefined) {
    // It was let in and then something broke: half done is not done.
    log.error('session admission failed', { address: session.address, error });
    endSession(session, 'internal-error');
    return;
  }
  const { returnCode, refusesDevice } = connackCodeOf(error);
  if (!(error instanceof GatewayError)) {
    log.error('session admission failed', { address: session.address, error });
    refuse(deps, session, returnCode, { code: 'INTERNAL', detail: 'internal error, see the log' });
    return;
  }
  const { code, message, subject } = error;
  const { certificate } = session;
  if (refusesDevice && certificate !== undefined) limiter.refused(fingerprintOf(certificate.der), clock.monotonic());
  refuse(deps, session, returnCode, { ...subject, code, detail: message });
}

function refuse(
  { operations, limits }: AdmissionDeps,
  session: Session,
  returnCode: number,
  refusal: { code: string; detail: string },
): void {
  const { socket, address } = session;
  session.refused = true;
  session.certificate = undefined;
  if (!socket.destroyed) {
    socket.write(formatConnack(returnCode), () => socket.destroy());
    // A client that does not even take four bytes.
    socket.setTimeout(limits.connectTimeoutMs, () => socket.destroy());
  }
  operations.recordSessionRefused({ ...refusal, address });
}
