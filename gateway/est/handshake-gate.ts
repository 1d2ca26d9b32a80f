import type { Socket } from 'node:net';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { EstLimits } from './est-deps.ts';

export type HandshakeLimits = Pick<
  EstLimits,
  'inFlight' | 'handshakes' | 'handshakesPerAddress' | 'silentHandshake' | 'handshakeWait'
>;

type Neighbour = { network: string; handshakes: number; waiting: { socket: Socket; since: number }[] };

/** As many handshakes always go on, so that a door whose enrollments all hang still says 503. */
const SPARE = 8;
/**
 * Of a door that works on all it can: handshakes that each enrollment, as it ends, lets begin beside the one that takes
 * its place. One with a 503 costs a quarter of an enrollment, so whoever comes at up to three times of what the door can
 * do is answered, and however many come, a third of the time at most goes into refusing.
 */
const REFUSED_EACH = 2;
/** Milliseconds between looks at who waits for too long. */
const SWEEP = 100;
/**
 * Milliseconds the oldest of an address waits before its newest is served first. More come than can be answered then:
 * in their order all would be answered late, and most after they have given up.
 */
const LATE = 250;

/**
 * What stands before TLS: a client is told 503 only after a handshake, and those must not take the time of the
 * enrollments that are worked on. While there is room for one more enrollment every newcomer begins at once; past that
 * each enrollment that ends lets some in to be refused. The others wait, and are taken address by address in turn, so
 * that a storm from one place does not keep out the rest; of one address in their order, and newest first when they
 * are late. Who waits too long is closed without a word: the oldest, in the end.
 */
export class HandshakeGate {
  readonly #limits: HandshakeLimits;
  readonly #start: (socket: Socket) => void;
  readonly #now: () => number;
  readonly #inWork: () => number;
  readonly #neighbours = new Map<string, Neighbour>();
  /** Who has somebody waiting. In turn: first in, first served, then to the end. */
  readonly #inTurn = new Set<Neighbour>();
  /** By address and port of the client: the socket under TLS and the one above it agree on these only. */
  readonly #underWay = new Map<string, { socket: Socket; neighbour: Neighbour; since: number }>();
  /** Have our part of the handshake and are silent since: they cost nothing until they speak, and keep no place. */
  readonly #stalled = new Map<string, Socket>();
  #waiting = 0;
  /** Handshakes that may begin although the door works on all it can. */
  #allowed: number;
  readonly #mostAllowed: number;
  #sweeper: NodeJS.Timeout | undefined;

  /** @param deps.now monotonic milliseconds @param deps.inWork how many enrollments are worked on */
  constructor(
    limits: HandshakeLimits,
    deps: { start: (socket: Socket) => void; now: () => number; inWork: () => number },
  ) {
    this.#limits = limits;
    this.#mostAllowed = limits.inFlight * REFUSED_EACH;
    this.#allowed = this.#mostAllowed;
    this.#start = deps.start;
    this.#now = deps.now;
    this.#inWork = deps.inWork;
  }

  /** @param socket paused, so that nothing of it is read before its turn */
  arrive(socket: Socket): void {
    const key = keyOf(socket);
    if (key === undefined) {
      socket.destroy();
      return;
    }
    const network = networkOf(socket.remoteAddress ?? '');
    const neighbour = this.#neighbours.get(network) ?? { network, handshakes: 0, waiting: [] };
    this.#neighbours.set(network, neighbour);
    neighbour.waiting.push({ socket, since: this.#now() });
    this.#waiting += 1;
    this.#inTurn.add(neighbour);
    socket.once('close', () => this.#ended(key, socket));
    this.#pump();
  }

  /** @param socket the one that speaks TLS now */
  secured(socket: Socket): void {
    const key = keyOf(socket);
    if (key !== undefined) this.#ended(key);
  }

  /** An enrollment has ended. */
  finished(): void {
    this.#allowed = Math.min(this.#mostAllowed, this.#allowed + REFUSED_EACH);
    this.#pump();
  }

  #pump(): void {
    for (const neighbour of this.#inTurn) {
      if (!this.#hasPlace()) break;
      if (neighbour.handshakes >= this.#limits.handshakesPerAddress) continue;
      this.#inTurn.delete(neighbour);
      const next = this.#takeNext(neighbour.waiting);
      if (next === undefined) continue;
      this.#waiting -= 1;
      // To the end: this loop comes to it again.
      if (neighbour.waiting.length > 0) this.#inTurn.add(neighbour);
      this.#begin(next.socket, neighbour);
    }
    if (this.#waiting > 0) this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP).unref();
  }

  /** Nobody is let in any more, nor waited for: who has not shaken hands has asked for nothing. */
  close(): void {
    clearInterval(this.#sweeper);
    for (const { waiting } of this.#neighbours.values()) for (const { socket } of waiting.splice(0)) socket.destroy();
    for (const { socket } of this.#underWay.values()) socket.destroy();
    for (const socket of this.#stalled.values()) socket.destroy();
  }

  #hasPlace(): boolean {
    const { size } = this.#underWay;
    return size < this.#limits.handshakes && (size < SPARE || this.#hasRoom() || this.#allowed > 0);
  }

  /** For one more enrollment, should all whose handshake is under way ask for one. */
  #hasRoom(): boolean {
    return this.#underWay.size + this.#inWork() < this.#limits.inFlight;
  }

  #takeNext(waiting: Neighbour['waiting']): Neighbour['waiting'][number] | undefined {
    const [oldest] = waiting;
    const isLate = oldest !== undefined && this.#now() - oldest.since > LATE;
    return isLate ? waiting.pop() : waiting.shift();
  }

  #begin(socket: Socket, neighbour: Neighbour): void {
    const key = socket.destroyed ? undefined : keyOf(socket);
    if (key === undefined) {
      socket.destroy();
      this.#forget(neighbour);
      return;
    }
    if (this.#underWay.size >= SPARE && !this.#hasRoom()) this.#allowed -= 1;
    neighbour.handshakes += 1;
    this.#underWay.set(key, { socket, neighbour, since: this.#now() });
    this.#start(socket);
  }

  /** @param socket left out for the one that is found under the key */
  #ended(key: string, socket?: Socket): void {
    const stalled = this.#stalled.get(key);
    if (stalled !== undefined && (socket === undefined || socket === stalled)) this.#stalled.delete(key);
    const under = this.#underWay.get(key);
    // The port may have been given to another connection since.
    if (under === undefined || (socket !== undefined && under.socket !== socket)) return;
    this.#underWay.delete(key);
    under.neighbour.handshakes -= 1;
    this.#forget(under.neighbour);
    this.#pump();
  }

  /** Places are not held by those who only opened a connection, and nobody waits longer than a client has patience. */
  #sweep(): void {
    const now = this.#now();
    for (const neighbour of this.#neighbours.values()) {
      const fresh = neighbour.waiting.findIndex(
        ({ socket, since }) => !socket.destroyed && now - since < this.#limits.handshakeWait,
      );
      const stale = neighbour.waiting.splice(0, fresh === -1 ? neighbour.waiting.length : fresh);
      this.#waiting -= stale.length;
      for (const { socket } of stale) socket.destroy();
      this.#forget(neighbour);
    }
    if (this.#waiting === 0) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
      return;
    }
    for (const [key, { socket, since }] of this.#underWay) {
      if (now - since < this.#limits.silentHandshake) continue;
      // Nothing was answered: no ClientHello has come, or not the whole of it.
      if (socket.bytesWritten === 0) socket.destroy();
      else {
        this.#ended(key, socket);
        this.#stalled.set(key, socket);
      }
    }
    this.#pump();
  }

  #forget(neighbour: Neighbour): void {
    if (neighbour.waiting.length > 0) return;
    this.#inTurn.delete(neighbour);
    if (neighbour.handshakes === 0) this.#neighbours.delete(neighbour.network);
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}
