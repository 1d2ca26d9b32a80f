import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { EnrollmentGrant } from '#gateway/operations/admit-session.ts';
import { fingerprintOf } from './refusal-limiter.ts';
import type { EnrollmentMember, Session } from './session.ts';

/**
 * The sessions that may only ask for a certificate. They stand apart from the devices' own: they displace none of them,
 * get no notices, and are not what "connected" means. One for each certificate, the newest; bounded in number.
 */
export class EnrollmentSessions {
  readonly #max: number;
  /** Longest silent first. */
  readonly #byCertificate = new Map<string, Session>();
  readonly #byDevice = new Map<DeviceId, Set<Session>>();
  readonly #byClaim = new Map<SerialNumber, Session>();

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#byCertificate.size;
  }

  /**
   * Whose place a newcomer takes: of the same certificate, or when all are taken, of the one that has been silent for
   * longest. @returns undefined when there is room; 'full' when nobody has been silent since `silentSince`
   */
  placeFor(grant: EnrollmentGrant, silentSince: number): Session | 'full' | undefined {
    const same = this.#byCertificate.get(keyOf(grant));
    if (same !== undefined) return same;
    if (this.#byCertificate.size < this.#max) return undefined;
    const [oldest] = this.#byCertificate.values();
    const lastAskedAt = oldest?.member?.csr.lastAskedAt;
    return oldest === undefined || lastAskedAt === undefined || lastAskedAt > silentSince ? 'full' : oldest;
  }

  add(session: Session, { grant }: EnrollmentMember): void {
    this.#byCertificate.set(keyOf(grant), session);
    if (grant.grounds === 'claim') this.#byClaim.set(grant.serial, session);
    const others = this.#byDevice.get(grant.deviceId);
    if (others === undefined) this.#byDevice.set(grant.deviceId, new Set([session]));
    else others.add(session);
  }

  /** It has asked for something: it is the last now that has to make room. */
  hasAsked(session: Session, { grant }: EnrollmentMember): void {
    const key = keyOf(grant);
    if (this.#byCertificate.get(key) !== session) return;
    this.#byCertificate.delete(key);
    this.#byCertificate.set(key, session);
  }

  remove(session: Session, { grant }: EnrollmentMember): void {
    const key = keyOf(grant);
    if (this.#byCertificate.get(key) === session) this.#byCertificate.delete(key);
    if (grant.grounds === 'claim' && this.#byClaim.get(grant.serial) === session) this.#byClaim.delete(grant.serial);
    const others = this.#byDevice.get(grant.deviceId);
    if (others?.delete(session) === true && others.size === 0) this.#byDevice.delete(grant.deviceId);
  }

  ofDevice(deviceId: DeviceId): Session[] {
    return [...(this.#byDevice.get(deviceId) ?? [])];
  }

  /** By the serial of one of our claims; a maker's certificate with the same number is not meant. */
  ofClaim(serial: SerialNumber): Session | undefined {
    return this.#byClaim.get(serial);
  }

  /** Those that have had their time, with the reason. `now`: monotonic milliseconds; the wall clock ends certificates. */
  *overdue(
    now: number,
    { enrollmentIdleMs, enrollmentWaitMs }: { enrollmentIdleMs: number; enrollmentWaitMs: number },
    isStillAdmitted: (claim: SerialNumber) => boolean,
  ): Generator<{ session: Session; reason: string }> {
    for (const session of this.#byCertificate.values()) {
      const { member } = session;
      if (member?.kind !== 'enrollment') continue;
      const { grant, csr } = member;
      if (grant.grounds === 'claim' && !isStillAdmitted(grant.serial)) yield { session, reason: 'claim-ended' };
      else if (csr.waiting.size === 0 && now - csr.lastAskedAt > enrollmentIdleMs) yield { session, reason: 'idle' };
      else if (now - csr.openedAt > enrollmentWaitMs) yield { session, reason: 'enrollment-timeout' };
    }
  }
}

/** Makers number as they like: only the whole certificate tells two of them apart. */
function keyOf({ peer }: EnrollmentGrant): string {
  return fingerprintOf(peer);
}
