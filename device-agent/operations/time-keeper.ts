import { agrees, type ClockReading, hasJumped, signedNow } from '#device-agent/domain/signed-clock.ts';
import { bestTime, isClockBelievable, parseTimeFloor } from '#device-agent/domain/time-floor.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';

export type TimeKeeperDeps = { store: StateStore; clock: Clock };

/**
 * What time it is on a device whose clock may be wrong.
 *
 * The floor on the disk only rises, by what is verified: the own certificate's notBefore, signed notices, the gateway's
 * time over a verified session. Above the floor the wall clock is believed until the gateway has signed another time
 * (see set); from then on that time runs with the uptime, and the wall clock counts only while it agrees. Never by a Date
 * header, nor by anything else that anybody could have sent.
 */
export class TimeKeeper {
  /** Called when the gateway's word has moved the clock: what was judged by the one before may be judged anew. */
  onSet: () => void = () => undefined;
  readonly #deps: TimeKeeperDeps;
  #floor: number;
  #learnedAt: number;
  #written: number;
  /** Two who learn at the same moment must not write over each other's draft. */
  #writing: Promise<unknown> = Promise.resolve();
  #signed: ClockReading | undefined;
  /** It is at least this time, by what is not sure enough to be kept. */
  #supposed: ClockReading | undefined;
  #lastLook: ClockReading;
  #isInDoubt = false;

  private constructor(deps: TimeKeeperDeps, floor: number) {
    this.#deps = deps;
    this.#floor = floor;
    this.#written = floor;
    this.#learnedAt = deps.clock.monotonic();
    this.#lastLook = this.#look();
  }

  static async open(deps: TimeKeeperDeps): Promise<TimeKeeper> {
    return new TimeKeeper(deps, parseTimeFloor(await deps.store.readRecord('time-floor')).floor);
  }

  /** The best known time, milliseconds UTC: never below the floor, and running also when the wall clock is wrong. */
  now(): number {
    const { time: wall, monotonic } = this.#look();
    const sinceFloor = monotonic - this.#learnedAt;
    if (this.#signed === undefined)
      return Math.max(bestTime(wall, this.#floor, sinceFloor), this.#supposedNow(monotonic));
    const signed = signedNow(this.#signed, monotonic);
    return agrees(wall, signed) ? wall : Math.max(signed, this.#floor + Math.max(0, Math.floor(sinceFloor)));
  }

  /** Whether the wall clock may be used as it is. */
  isClockBelievable(): boolean {
    const { time: wall, monotonic } = this.#look();
    if (this.#signed === undefined) return isClockBelievable(wall, Math.max(this.#floor, this.#supposedNow(monotonic)));
    return agrees(wall, signedNow(this.#signed, monotonic));
  }

  /** Whether the wall clock was moved since the last time from the gateway, or seems to be wrong otherwise. */
  isInDoubt(): boolean {
    const look = this.#look();
    this.#isInDoubt ||= hasJumped(this.#lastLook, look);
    this.#lastLook = look;
    return this.#isInDoubt;
  }

  /** The gateway was reached and verified, dates included, so far as these go the clock is right. */
  settle(): void {
    this.#isInDoubt = false;
    this.#lastLook = this.#look();
  }

  /** undefined when no clock can be trusted: dates are then not judged (RFC 8995 2.6.1). */
  trustedNow(): number | undefined {
    // Who has moved the wall clock is not known; and after a sleep the uptime lags behind.
    if (this.isInDoubt()) return undefined;
    return this.#signed !== undefined || this.isClockBelievable() ? this.now() : undefined;
  }

  trust(anchors: Buffer[]): GatewayTrust {
    return this.isClockBelievable() ? { anchors } : { anchors, floor: this.#lowerBound() };
  }

  /** To ask for signed time and for nothing else: the wall clock, which is to be judged, does not judge. */
  trustWithoutDates(anchors: Buffer[]): GatewayTrust {
    return { anchors, floor: this.#floor };
  }

  /**
   * @param time verified to be in the past, milliseconds UTC. @param vouchedUntil notAfter of the certificate that vouches
   * for it: what is beyond is no time it can have told, and is not learned, since the floor never goes down again.
   */
  async learn(time: number, vouchedUntil: number): Promise<void> {
    if (time <= this.#floor || time > vouchedUntil || !Number.isSafeInteger(time)) return;
    this.#floor = time;
    this.#learnedAt = this.#deps.clock.monotonic();
    // With a good clock the file need not follow every notice: flash memory wears.
    if (this.isClockBelievable() && time < this.#written + WORTH_WRITING_MS) return;
    this.#written = time;
    const write = this.#writing.then(() =>
      this.#deps.store.writeRecord('time-floor', { version: 1, floor: this.#floor }),
    );
    this.#writing = write.catch(() => undefined);
    await write;
  }

  /**
   * It is this time now: signed by the gateway, and known to be said just now. Moves the clock of the agent, forward and
   * back, but never below the floor.
   * @returns whether it was taken
   */
  async set(time: number, vouchedUntil: number): Promise<boolean> {
    const isTold = Number.isSafeInteger(time) && time <= vouchedUntil && isClockBelievable(time, this.#floor);
    if (!isTold) return false;
    this.#signed = { time, monotonic: this.#deps.clock.monotonic() };
    this.#supposed = undefined;
    this.settle();
    await this.learn(time, vouchedUntil);
    this.onSet();
    return true;
  }

  /**
   * The gateway behaves as it would if it were this time or later. It may be wrong itself for a while: so this is not
   * learned, but believed until the gateway has told the time, until it turns out to be wrong, or the agent ends.
   */
  suppose(time: number): void {
    if (time > this.now()) this.#supposed = { time, monotonic: this.#deps.clock.monotonic() };
  }

  forgetSupposed(): void {
    this.#supposed = undefined;
  }

  #supposedNow(monotonic: number): number {
    return this.#supposed === undefined ? 0 : signedNow(this.#supposed, monotonic);
  }

  #lowerBound(): number {
    return this.#signed === undefined ? this.#floor : this.now();
  }

  #look(): ClockReading {
    const { clock } = this.#deps;
    return { time: clock.now(), monotonic: clock.monotonic() };
  }
}

const WORTH_WRITING_MS = 24 * 3600_000;
