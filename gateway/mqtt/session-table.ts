import type { TLSSocket } from 'node:tls';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import type { DeviceGrant, EnrollmentGrant } from '#gateway/operations/admit-session.ts';
import { openConversation } from './conversation.ts';
import { EnrollmentSessions } from './enrollment-sessions.ts';
import { ExpiryWheel } from './expiry-wheel.ts';
import type { DeviceMember, EnrollmentMember, Session, ShownCertificate } from './session.ts';

/** A session of a device, registered. */
export type DeviceSession = Session & { member: DeviceMember };

/**
 * Every connection that has finished TLS, by connection. This table, not the broker's list of clients, is what
 * revocation, take-over and expiry go by: it knows a socket from before its CONNECT until its close.
 */
export class SessionTable {
  readonly #sessions = new Map<number, Session>();
  readonly #byDevice = new Map<DeviceId, DeviceSession>();
  readonly #bySerial = new Map<SerialNumber, DeviceSession>();
  readonly #enrollments: EnrollmentSessions;
  readonly #expiry: ExpiryWheel<Session>;
  #patrol: Iterator<Session> | undefined;
  #lastId = 0;

  constructor(now: number, limits: { maxEnrollmentSessions: number }) {
    this.#expiry = new ExpiryWheel(now);
    this.#enrollments = new EnrollmentSessions(limits.maxEnrollmentSessions);
  }

  get enrollments(): EnrollmentSessions {
    return this.#enrollments;
  }

  open(socket: TLSSocket, address: string, certificate: ShownCertificate): Session {
    this.#lastId += 1;
    const session: Session = {
      id: this.#lastId,
      socket,
      address,
      client: undefined,
      certificate,
      member: undefined,
      refused: false,
      endReason: undefined,
      closed: false,
    };
    this.#sessions.set(session.id, session);
    return session;
  }

  /**
   * Makes the session the one of its device: from here on revocation and notices find it.
   * @param now wall clock, milliseconds UTC; `monotonic` the other one
   * @returns the session it displaces too; the newest wins (MQTT 3.1.1 3.1.4-2), and the caller ends the older one.
   */
  register(
    session: Session,
    grant: DeviceGrant,
    { now, monotonic }: { now: number; monotonic: number },
  ): { older: Session | undefined; member: DeviceMember } {
    const { deviceId, serial, group, notAfter, readFrom, proofLevel, publishProof } = grant;
    const older = this.#byDevice.get(deviceId);
    if (older !== undefined) this.#unregister(older);
    const member: DeviceMember = {
      kind: 'device',
      live: { id: session.id, deviceId, serial, address: session.address, since: now },
      identity: { kind: 'device', deviceId, readFrom, revoked: false, proofLevel, publishProof },
      group,
      notAfter,
      outPrefix: `v1/d/${deviceId}/out/`,
      noticeTopic: deviceTopics(deviceId).notice,
      filters: new Set(),
      csr: openConversation('device', deviceId, monotonic),
      revokedSince: undefined,
      listens: false,
      muted: false,
      pendingReports: 0,
      delivery: 'idle',
    };
    const registered = Object.assign(session, { member, certificate: undefined });
    this.#byDevice.set(deviceId, registered);
    this.#bySerial.set(serial, registered);
    this.#expiry.add(session, endOfValidity(notAfter));
    return { older, member };
  }

  /** Lets it ask for a certificate. The caller has made room for it (see EnrollmentSessions.placeFor). */
  registerEnrollment(
    session: Session,
    grant: EnrollmentGrant,
    { now, monotonic }: { now: number; monotonic: number },
  ): EnrollmentMember {
    const { deviceId, serial, notAfter } = grant;
    const member: EnrollmentMember = {
      kind: 'enrollment',
      live: { id: session.id, deviceId, serial, address: session.address, since: now },
      identity: { kind: 'enrollment', deviceId, revoked: false },
      grant,
      notAfter,
      outPrefix: `v1/enroll/${deviceId}/out/`,
      filters: new Set(),
      csr: openConversation('enrollment', deviceId, monotonic),
      revokedSince: undefined,
      muted: false,
      pendingReports: 0,
    };
    session.member = member;
    session.certificate = undefined;
    this.#enrollments.add(session, member);
    this.#expiry.add(session, endOfValidity(notAfter));
    return member;
  }

  /** Its place is another's now, although its socket may take a moment to close. */
  displace(session: Session): void {
    this.#unregister(session);
  }

  /** The socket is closed. */
  remove(session: Session): void {
    session.closed = true;
    this.#sessions.delete(session.id);
    this.#unregister(session);
  }

  find(id: number): Session | undefined {
    return this.#sessions.get(id);
  }

  ofDevice(deviceId: DeviceId): DeviceSession | undefined {
    return this.#byDevice.get(deviceId);
  }

  ofSerial(serial: SerialNumber): DeviceSession | undefined {
    return this.#bySerial.get(serial);
  }

  /** Those that ask for a certificate of this device. */
  enrolling(deviceId: DeviceId): Session[] {
    return this.#enrollments.ofDevice(deviceId);
  }

  /** Of a connected device: deliveries are judged by the publisher's group as it was when it connected. */
  readonly groupOf = (deviceId: string): string | undefined => this.#byDevice.get(deviceId as DeviceId)?.member.group;

  /** Every connection, those before CONNECT too. */
  all(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** Those that hold their device's place. */
  members(): Iterable<DeviceSession> {
    return this.#byDevice.values();
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** @returns sessions whose certificate has ended; each is returned once. */
  takeExpired(now: number): Session[] {
    return this.#expiry.takeDue(now);
  }

  /** The next few sessions of a round that never ends: a second look at everyone, at a cost that does not grow. */
  *patrol(count: number): Generator<Session> {
    for (let i = 0; i < count; i += 1) {
      this.#patrol ??= this.#byDevice.values();
      const next = this.#patrol.next();
      if (next.done === true) {
        this.#patrol = undefined;
        return;
      }
      yield next.value;
    }
  }

  #unregister(session: Session): void {
    const { member } = session;
    if (member === undefined) return;
    if (member.kind === 'enrollment') this.#enrollments.remove(session, member);
    else {
      const { deviceId, serial } = member.live;
      if (this.#byDevice.get(deviceId) === session) this.#byDevice.delete(deviceId);
      if (this.#bySerial.get(serial) === session) this.#bySerial.delete(serial);
    }
    this.#expiry.remove(session, endOfValidity(member.notAfter));
  }
}

/** notAfter counts, to the second (RFC 5280 4.1.2.5): a session must not end while its certificate is still let in. */
function endOfValidity(notAfter: number): number {
  return notAfter + 1000;
}
