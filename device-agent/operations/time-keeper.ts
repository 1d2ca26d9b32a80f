import { bestTime, isClockBelievable, parseTimeFloor } from '#device-agent/domain/time-floor.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';

export type TimeKeeperDeps = { store: StateStore; clock: Clock };

/**
 * What time it is on a device whose clock may be wrong. The floor on the disk only rises, by what is verified: the own
 * certificate's notBefore, signed notices, the gateway's time over a verified session. Never by a Date header.
 */
export class TimeKeeper {
  readonly #deps: TimeKeeperDeps;
  #floor: number;
  #learnedAt: number;
  #written: number;

  private constructor(deps: TimeKeeperDeps, floor: number) {
    this.#deps = deps;
    this.#floor = floor;
    this.#written = floor;
    this.#learnedAt = deps.clock.monotonic();
  }

  static async open(deps: TimeKeeperDeps): Promise<TimeKeeper> {
    return new TimeKeeper(deps, parseTimeFloor(await deps.store.readRecord('time-floor')).floor);
  }

  /** The best known time, milliseconds UTC: never below the floor, and running also when the wall clock is wrong. */
  now(): number {
    const { clock } = this.#deps;
    return bestTime(clock.now(), this.#floor, clock.monotonic() - this.#learnedAt);
  }

  isClockBelievable(): boolean {
    return isClockBelievable(this.#deps.clock.now(), this.#floor);
  }

  /** undefined when no clock can be trusted: dates are then not judged (RFC 8995 2.6.1). */
  trustedNow(): number | undefined {
    return this.isClockBelievable() ? this.now() : undefined;
  }

  trust(anchors: Buffer[]): GatewayTrust {
    return this.isClockBelievable() ? { anchors } : { anchors, floor: this.#floor };
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
    await this.#deps.store.writeRecord('time-floor', { version: 1, floor: time });
  }
}

const WORTH_WRITING_MS = 24 * 3600_000;
