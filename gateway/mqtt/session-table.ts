import type { TLSSocket } from 'node:tls';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import type { SessionGrant } from '#gateway/operations/admit-session.ts';
import { ExpiryWheel } from './expiry-wheel.ts';
import type { Member, Session } from './session.ts';

/**
 * Every connection that has finished TLS, by connection. This table, not the broker's list of clients, is what
 * revocation, take-over and expiry go by: it knows a socket from before its CONNECT until its close.
 */
export class SessionTable {
  readonly #sessions = new Map<number, Session>();
  readonly #byDevice = new Map<DeviceId, Session>();
  readonly #bySerial = new Map<SerialNumber, Session>();
  readonly #expiry: ExpiryWheel<Session>;
  #patrol: Iterator<Session> | undefined;
  #lastId = 0;

  constructor(now: number) {
    this.#expiry = new ExpiryWheel(now);
  }

  open(socket: TLSSocket, address: string, certificate: Buffer): Session {
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
   * @returns the session it displaces too; the newest wins (MQTT 3.1.1 3.1.4-2), and the caller ends the older one.
   */
  register(session: Session, grant: SessionGrant, now: number): { older: Session | undefined; member: Member } {
    const { deviceId, serial, group, notAfter, readFrom, proofLevel, publishProof } = grant;
    const older = this.#byDevice.get(deviceId);
    if (older !== undefined) this.#unregister(older);
    const member: Member = {
      live: { id: session.id, deviceId, serial, address: session.address, since: now },
      identity: { deviceId, readFrom, revoked: false, proofLevel, publishProof },
      group,
      notAfter,
      outPrefix: `v1/d/${deviceId}/out/`,
      noticeTopic: deviceTopics(deviceId).notice,
      filters: new Set(),
      revokedSince: undefined,
      listens: false,
      muted: false,
      pendingReports: 0,
      delivery: 'idle',
    };
    session.member = member;
    session.certificate = undefined;
    this.#byDevice.set(deviceId, session);
    this.#bySerial.set(serial, session);
    this.#expiry.add(session, endOfValidity(notAfter));
    return { older, member };
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

  ofDevice(deviceId: DeviceId): Session | undefined {
    return this.#byDevice.get(deviceId);
  }

  ofSerial(serial: SerialNumber): Session | undefined {
    return this.#bySerial.get(serial);
  }

  /** Of a connected device: deliveries are judged by the publisher's group as it was when it connected. */
  readonly groupOf = (deviceId: string): string | undefined => this.#byDevice.get(deviceId as DeviceId)?.member?.group;

  /** Every connection, those before CONNECT too. */
  all(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** Those that hold their device's place. */
  members(): Iterable<Session> {
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
    const { deviceId, serial } = member.live;
    if (this.#byDevice.get(deviceId) === session) this.#byDevice.delete(deviceId);
    if (this.#bySerial.get(serial) === session) this.#bySerial.delete(serial);
    this.#expiry.remove(session, endOfValidity(member.notAfter));
  }
}

/** notAfter counts, to the second (RFC 5280 4.1.2.5): a session must not end while its certificate is still let in. */
function endOfValidity(notAfter: number): number {
  return notAfter + 1000;
}
