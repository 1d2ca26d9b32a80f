import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { EnrollmentGrant } from '#gateway/operations/admit-session.ts';
import { fingerprintOf } from './refusal-limiter.ts';
import type { EnrollmentMember, Session } from './session.ts';

/**
 * The sessions that may only ask for a certificate. They stand apart from the devices' own: they displace none of them,
 * get no notices, and are not what "connected" means. One for each certificate, the newest; bounded in number, and those
 * that have expired by themselves: a fleet that comes back after a long time keeps no newcomer out.
 */
export class EnrollmentSessions {
  readonly #max: number;
  /** By certificate, longest silent first. */
  readonly #newcomers = new Map<string, Session>();
  readonly #expired = new Map<string, Session>();
  readonly #byDevice = new Map<DeviceId, Set<Session>>();
  /** Of our own certificates: claims, and those that have expired. */
  readonly #bySerial = new Map<SerialNumber, Session>();

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#newcomers.size + this.#expired.size;
  }

  /**
   * Whose place a newcomer takes: of the same certificate, or when all are taken, of the one that has been silent for
   * longest. @returns undefined when there is room; 'full' when nobody has been silent since `silentSince`
   */
  placeFor(grant: EnrollmentGrant, silentSince: number): Session | 'full' | undefined {
    const places = this.#placesOf(grant);
    const same = places.get(keyOf(grant));
    if (same !== undefined) return same;
    if (places.size < this.#max) return undefined;
    const [oldest] = places.values();
    const lastAskedAt = oldest?.member?.csr.lastAskedAt;
    return oldest === undefined || lastAskedAt === undefined || lastAskedAt > silentSince ? 'full' : oldest;
  }

  add(session: Session, { grant }: EnrollmentMember): void {
    this.#placesOf(grant).set(keyOf(grant), session);
    const serial = ownSerialOf(grant);
    if (serial !== undefined) this.#bySerial.set(serial, session);
    const others = this.#byDevice.get(grant.deviceId);
    if (others === undefined) this.#byDevice.set(grant.deviceId, new Set([session]));
    else others.add(session);
  }

  /** It has asked for something: it is the last now that has to make room. */
  hasAsked(session: Session, { grant }: EnrollmentMember): void {
    const key = keyOf(grant);
    const places = this.#placesOf(grant);
    if (places.get(key) !== session) return;
    places.delete(key);
    places.set(key, session);
  }

  remove(session: Session, { grant }: EnrollmentMember): void {
    const key = keyOf(grant);
    const places = this.#placesOf(grant);
    if (places.get(key) === session) places.delete(key);
    const serial = ownSerialOf(grant);
    if (serial !== undefined && this.#bySerial.get(serial) === session) this.#bySerial.delete(serial);
    const others = this.#byDevice.get(grant.deviceId);
    if (others?.delete(session) === true && others.size === 0) this.#byDevice.delete(grant.deviceId);
  }

  ofDevice(deviceId: DeviceId): Session[] {
    return [...(this.#byDevice.get(deviceId) ?? [])];
  }

  /** By the serial of a certificate of ours; a maker's certificate with the same number is not meant. */
  ofSerial(serial: SerialNumber): Session | undefined {
    return this.#bySerial.get(serial);
  }

  /** Those that have had their time, with the reason. `now`: monotonic milliseconds; the wall clock ends certificates. */
  *overdue(
    now: number,
    { enrollmentIdleMs, enrollmentWaitMs }: { enrollmentIdleMs: number; enrollmentWaitMs: number },
    isStillAdmitted: (serial: SerialNumber) => boolean,
  ): Generator<{ session: Session; reason: string }> {
    for (const session of [...this.#newcomers.values(), ...this.#expired.values()]) {
      const { member } = session;
      if (member?.kind !== 'enrollment') continue;
      const { grant, csr } = member;
      const serial = ownSerialOf(grant);
      if (serial !== undefined && !isStillAdmitted(serial))
        yield { session, reason: grant.grounds === 'claim' ? 'claim-ended' : 'revoked' };
      else if (csr.waiting.size === 0 && now - csr.lastAskedAt > enrollmentIdleMs) yield { session, reason: 'idle' };
      else if (now - csr.openedAt > enrollmentWaitMs) yield { session, reason: 'enrollment-timeout' };
    }
  }

  #placesOf({ grounds }: EnrollmentGrant): Map<string, Session> {
    return grounds === 'expired' ? this.#expired : this.#newcomers;
  }
}

/** What deny set and revocations know it by. */
export function ownSerialOf(grant: EnrollmentGrant): SerialNumber | undefined {
  return grant.grounds === 'manufacturer' ? undefined : grant.serial;
}

/** Makers number as they like: only the whole certificate tells two of them apart. */
function keyOf({ peer }: EnrollmentGrant): string {
  return fingerprintOf(peer);
}
