import { networkOf } from '#gateway/domain/network-of.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import { TokenBucket } from './token-bucket.ts';

export type GateLimits = Pick<
  MqttLimits,
  'maxHandshakes' | 'maxHandshakesPerAddress' | 'maxWaiting' | 'maxWaitMs' | 'addressBurst' | 'addressPerSecond'
>;

export type DropReason = 'queue-full' | 'waited-too-long';

type Neighbour<T> = {
  key: string;
  bucket: TokenBucket;
  handshakes: number;
  waiting: { arrival: T; since: number }[];
};

/**
 * Milliseconds the oldest of an address waits before its newest is served first: by then the old ones have most likely
 * given up, and serving the dead in their order would leave nothing for the living, who give up in turn.
 */
const LATE_MS = 1_000;

/** Beyond this many addresses the strangers share one budget: the table must not grow with an attacker's addresses. */
const MAX_NEIGHBOURS = 20_000;

/**
 * What stands before TLS. Handshakes run on the event loop, so only so many go on at once; the others wait, and those
 * who wait are served address by address in turn, so that a storm from one place does not starve the rest; of one
 * address first come, first served, until that takes too long.
 * A connection costs its address a token, which comes back when the session is admitted: a fleet behind one address is
 * not slowed, an address that always fails is.
 */
export class AdmissionGate<T extends object> {
  readonly #limits: GateLimits;
  readonly #start: (arrival: T) => void;
  readonly #drop: (arrival: T, reason: DropReason) => void;
  readonly #neighbours = new Map<string, Neighbour<T>>();
  /** Has somebody waiting and, as far as known, may start one. In turn: first in, first served, then to the end. */
  readonly #ready = new Set<Neighbour<T>>();
  /** Has somebody waiting, but used up its tokens or its share. */
  readonly #parked = new Set<Neighbour<T>>();
  readonly #inHandshake = new Map<T, Neighbour<T>>();
  #waiting = 0;

  constructor(limits: GateLimits, start: (arrival: T) => void, drop: (arrival: T, reason: DropReason) => void) {
    this.#limits = limits;
    this.#start = start;
    this.#drop = drop;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get handshakes(): number {
    return this.#inHandshake.size;
  }

  isInHandshake(arrival: T): boolean {
    return this.#inHandshake.has(arrival);
  }

  arrive(arrival: T, address: string, now: number): void {
    const neighbour = this.#neighbourOf(address, now);
    // A quarter is kept free for others, whoever storms.
    if (this.#waiting >= this.#limits.maxWaiting || neighbour.waiting.length >= this.#limits.maxWaiting * 0.75) {
      this.#drop(arrival, 'queue-full');
      return;
    }
    neighbour.waiting.push({ arrival, since: now });
    this.#waiting += 1;
    if (!this.#parked.has(neighbour)) this.#ready.add(neighbour);
    this.#pump(now);
  }

  /** The handshake of this arrival has ended, one way or the other. Safe to say twice. */
  handshakeEnded(arrival: T, now: number): void {
    const neighbour = this.#inHandshake.get(arrival);
    if (neighbour === undefined) return;
    this.#inHandshake.delete(arrival);
    neighbour.handshakes -= 1;
    this.#unpark(neighbour);
    this.#pump(now);
  }

  /** A session from this address was admitted: its token comes back. */
  admitted(address: string, now: number): void {
    const neighbour = this.#neighbours.get(networkOf(address)) ?? this.#neighbours.get('');
    if (neighbour === undefined) return;
    neighbour.bucket.giveBack();
    this.#unpark(neighbour);
    this.#pump(now);
  }

  /** To be called every now and then: lets go of who waited too long, wakes who has tokens again, forgets the idle. */
  sweep(now: number): void {
    for (const neighbour of [...this.#ready, ...this.#parked]) this.#dropStale(neighbour, now);
    for (const neighbour of this.#parked) this.#unpark(neighbour);
    this.#pump(now);
    for (const neighbour of this.#neighbours.values()) {
      if (neighbour.handshakes > 0 || neighbour.waiting.length > 0 || !neighbour.bucket.isFull(now)) continue;
      this.#neighbours.delete(neighbour.key);
    }
  }

  #pump(now: number): void {
    while (this.#inHandshake.size < this.#limits.maxHandshakes) {
      const [neighbour] = this.#ready;
      if (neighbour === undefined) return;
      this.#ready.delete(neighbour);
      const [oldest] = neighbour.waiting;
      if (oldest === undefined) continue;
      if (neighbour.handshakes >= this.#limits.maxHandshakesPerAddress || !neighbour.bucket.take(now)) {
        this.#parked.add(neighbour);
        continue;
      }
      const isLate = now - oldest.since > LATE_MS;
      const next = (isLate ? neighbour.waiting.pop() : neighbour.waiting.shift()) ?? oldest;
      this.#waiting -= 1;
      if (neighbour.waiting.length > 0) this.#ready.add(neighbour);
      neighbour.handshakes += 1;
      this.#inHandshake.set(next.arrival, neighbour);
      this.#start(next.arrival);
    }
  }

  #unpark(neighbour: Neighbour<T>): void {
    if (this.#parked.delete(neighbour)) this.#ready.add(neighbour);
  }

  #dropStale(neighbour: Neighbour<T>, now: number): void {
    const fresh = neighbour.waiting.findIndex(({ since }) => now - since <= this.#limits.maxWaitMs);
    const stale = neighbour.waiting.splice(0, fresh === -1 ? neighbour.waiting.length : fresh);
    this.#waiting -= stale.length;
    for (const { arrival } of stale) this.#drop(arrival, 'waited-too-long');
  }

  #neighbourOf(address: string, now: number): Neighbour<T> {
    const own = networkOf(address);
    const key = this.#neighbours.has(own) || this.#neighbours.size < MAX_NEIGHBOURS ? own : '';
    let neighbour = this.#neighbours.get(key);
    if (neighbour === undefined) {
      const bucket = new TokenBucket(this.#limits.addressBurst, this.#limits.addressPerSecond, now);
      neighbour = { key, bucket, handshakes: 0, waiting: [] };
      this.#neighbours.set(key, neighbour);
    }
    return neighbour;
  }
}
