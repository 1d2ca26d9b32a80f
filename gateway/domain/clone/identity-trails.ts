import type { CloneRules } from '#gateway/contract/alarm-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { CloneEvidence } from './clone-evidence.ts';

/** A session that took the place of a living one. Times are milliseconds UTC. */
export type TakeOver = {
  deviceId: DeviceId;
  serial: string;
  address: string;
  since: number;
  displaced: { address: string; since: number };
};

type Crossing = { at: number; from: string; to: string };
type Trail = { crossings: Crossing[]; last: TakeOver | undefined; supersededUses: number[] };

/** Of one device; more within the window change nothing. */
const MAX_REMEMBERED = 64;
/** A device that was never told of its new certificate shows the old one, too: it gets so many times more tries. */
const PATIENCE_UNREPORTED = 3;

/**
 * What single connections do not show: sessions of one device that push each other out, and certificates that come back.
 * In memory, for the devices that do such things, and no more of them than a limit; what a restart forgets is seen
 * again when it goes on.
 */
export class IdentityTrails {
  readonly #trails = new Map<DeviceId, Trail>();
  readonly #maxDevices: number;

  constructor(maxDevices = 10_000) {
    this.#maxDevices = maxDevices;
  }

  /**
   * A take-over within one network is what a device does that lost its connection or its power; so is a single one
   * between two. To and fro, again and again, is what two do.
   */
  takenOver(takeOver: TakeOver, rules: CloneRules): CloneEvidence | undefined {
    const trail = this.#trailOf(takeOver.deviceId);
    trail.last = takeOver;
    const [from, to] = [networkOf(takeOver.displaced.address), networkOf(takeOver.address)];
    const at = takeOver.since;
    const recent = trail.crossings.filter((crossing) => isWithin(crossing.at, at, rules.pingPongSeconds));
    trail.crossings = from === to ? recent : [...recent, { at, from, to }].slice(-MAX_REMEMBERED);
    const count = from === to ? 0 : countToAndFro(trail.crossings);
    if (count < rules.pingPongTakeOvers) return undefined;
    trail.crossings = [];
    const seconds = Math.round((at - (recent.at(1 - count)?.at ?? at)) / 1000);
    return {
      kind: 'take-over ping-pong',
      detail: `sessions from ${from} and ${to} took over each other ${count} times within ${seconds} s`,
      address: takeOver.address,
      serial: takeOver.serial,
    };
  }

  /** The take-over with which the session that began at `since` came in. */
  takeOverOf(deviceId: DeviceId, since: number): TakeOver | undefined {
    const last = this.#trails.get(deviceId)?.last;
    return last?.since === since ? last : undefined;
  }

  /** The device itself has said that it was the same one before and after: it roams. */
  explained(deviceId: DeviceId): void {
    const trail = this.#trails.get(deviceId);
    if (trail !== undefined) trail.crossings = [];
  }

  /**
   * A certificate was shown whose successor is in use.
   * @param use.isReported the device has said itself that it uses the successor; else whoever uses it keeps silent
   */
  supersededUsed(
    use: { deviceId: DeviceId; serial: string; successor: string; isReported: boolean; address: string; at: number },
    rules: CloneRules,
  ): CloneEvidence | undefined {
    const { deviceId, serial, successor, isReported, address, at } = use;
    const least = rules.supersededUses * (isReported ? 1 : PATIENCE_UNREPORTED);
    const trail = this.#trailOf(deviceId);
    trail.supersededUses = [...trail.supersededUses, at]
      .filter((moment) => isWithin(moment, at, rules.supersededSeconds))
      .slice(-MAX_REMEMBERED);
    const times = trail.supersededUses.length;
    if (times < Math.min(least, MAX_REMEMBERED)) return undefined;
    trail.supersededUses = [];
    return {
      kind: 'superseded certificate used',
      detail: `certificate ${serial} was shown ${times} times although ${successor} has replaced it and is in use${isReported ? '' : ', which the device has never reported'}`,
      address,
      serial,
    };
  }

  forget(deviceId: DeviceId): void {
    this.#trails.delete(deviceId);
  }

  get size(): number {
    return this.#trails.size;
  }

  #trailOf(deviceId: DeviceId): Trail {
    const trail = this.#trails.get(deviceId) ?? { crossings: [], last: undefined, supersededUses: [] };
    // Last in the order of the map: the one that was quiet for longest goes first.
    this.#trails.delete(deviceId);
    this.#trails.set(deviceId, trail);
    if (this.#trails.size > this.#maxDevices) {
      const [oldest] = this.#trails.keys();
      if (oldest !== undefined) this.#trails.delete(oldest);
    }
    return trail;
  }
}

/** Not what is to come, either: the gateway's clock was set back since. */
function isWithin(moment: number, now: number, seconds: number): boolean {
  return moment <= now && moment > now - seconds * 1000;
}

/** How many of the last crossings each went back where the one before had come from. */
function countToAndFro(crossings: readonly Crossing[]): number {
  let count = 0;
  let later: Crossing | undefined;
  for (const crossing of crossings.toReversed()) {
    if (later !== undefined && (crossing.to !== later.from || crossing.from !== later.to)) break;
    later = crossing;
    count += 1;
  }
  return count;
}
