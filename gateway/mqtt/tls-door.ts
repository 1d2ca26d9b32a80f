import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import { AdmissionGate, type DropReason } from './admission-gate.ts';
import { demandCertificate, prepareDemand } from './demand-certificate.ts';
import { type AcceptedPeer, judgePeer } from './judge-peer.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import { assertPartialChainUsable, usePartialChain } from './partial-chain.ts';
import { type DoorTls, tlsOptions } from './tls-options.ts';
import { explainTlsRefusal, type TlsRefusal } from './tls-refusal.ts';

export type ListenOptions = {
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** Several processes on one port (Linux). */
  reusePort?: boolean;
};

export type TlsDoorEvents = {
  /**
   * The client has proved possession of the key of a certificate of one of our issuers, or of a trusted maker, valid
   * now; or of one of ours for a device that has ended. Nothing more.
   */
  onSecure(socket: TLSSocket, address: string, peer: AcceptedPeer): void;
  onRefused(address: string, refusal: TlsRefusal): void;
};

/** TCP keepalive: finds out about a peer that lost its power before its MQTT keepalive does when that is long. */
const TCP_KEEPALIVE_MS = 60_000;

/** TCP, then the admission gate, then TLS. Owns every socket until it is handed over as secure. */
export class TlsDoor {
  readonly #limits: MqttLimits;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #events: TlsDoorEvents;
  readonly #tcp: Server;
  readonly #tls: ReturnType<typeof createTlsServer>;
  readonly #gate: AdmissionGate<Socket>;
  /** Of the context in use. */
  #issuers: Certificate[];
  readonly #sockets = new Set<Socket>();
  /** Their handshake goes on without a place, and no whole ClientHello has come. */
  readonly #late = new Set<Socket>();
  /** Taken on arrival: when a handshake fails the socket does not know its peer any more. */
  readonly #addresses = new WeakMap<Socket, string>();
  readonly #drops = new Map<DropReason | 'too-many-connections' | 'silent', number>();

  constructor(tls: DoorTls, deps: { limits: MqttLimits; clock: Clock; log: Log; events: TlsDoorEvents }) {
    this.#limits = deps.limits;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#events = deps.events;
    this.#gate = new AdmissionGate<Socket>(
      deps.limits,
      (socket) => this.#startHandshake(socket),
      (socket, reason) => this.#drop(socket, reason),
    );
    this.#tcp = createServer({
      pauseOnConnect: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEPALIVE_MS,
    });
    this.#tcp.on('connection', (socket) => this.#arrive(socket));
    assertPartialChainUsable();
    prepareDemand();
    this.#issuers = issuersOf(tls);
    const options = tlsOptions(tls, deps.limits);
    this.#tls = createTlsServer(options);
    usePartialChain(this.#tls, options);
    this.#tls.on('secureConnection', (socket) => this.#secured(socket));
    this.#tls.on('tlsClientError', (error, socket) => this.#failed(error, socket));
  }

  async listen(options: ListenOptions): Promise<{ host: string; port: number }> {
    await new Promise<void>((resolve, reject) => {
      this.#tcp.once('error', reject);
      this.#tcp.listen({ backlog: 4096, ...options }, () => {
        this.#tcp.removeListener('error', reject);
        this.#tcp.on('error', (error) => this.#log.error('mqtt listener failed', { error: String(error) }));
        resolve();
      });
    });
    const address = this.#tcp.address();
    if (address === null || typeof address === 'string') throw new Error('the MQTT listener has no address');
    return { host: options.host, port: address.port };
  }

  /** New handshakes use it; live sessions stay. */
  reload(tls: DoorTls): void {
    const issuers = issuersOf(tls);
    usePartialChain(this.#tls, tlsOptions(tls, this.#limits));
    this.#issuers = issuers;
  }

  /** A session from this address was admitted: the address gets its token back. */
  admitted(address: string): void {
    this.#gate.admitted(address, this.#clock.monotonic());
  }

  sweep(): void {
    this.#gate.sweep(this.#clock.monotonic());
    for (const [reason, count] of this.#drops) this.#log.warn('connections dropped before TLS', { reason, count });
    this.#drops.clear();
  }

  counts(): { sockets: number; waiting: number; handshakes: number } {
    return { sockets: this.#sockets.size, waiting: this.#gate.waiting, handshakes: this.#gate.handshakes };
  }

  stopListening(): void {
    this.#tcp.close();
  }

  /** Destroys what is left, secure or not. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      if (!this.#tcp.listening && this.#sockets.size === 0) resolve();
      else this.#tcp.close(() => resolve());
    });
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #arrive(socket: Socket): void {
    const address = socket.remoteAddress;
    if (address === undefined || this.#sockets.size >= this.#limits.maxConnections) {
      this.#drop(socket, 'too-many-connections');
      return;
    }
    this.#addresses.set(socket, address);
    this.#sockets.add(socket);
    socket.on('error', ignore);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#gate.handshakeEnded(socket, this.#clock.monotonic());
    });
    this.#gate.arrive(socket, address, this.#clock.monotonic());
  }

  #startHandshake(socket: Socket): void {
    if (socket.destroyed) {
      this.#gate.handshakeEnded(socket, this.#clock.monotonic());
      return;
    }
    demandCertificate(() => this.#tls.emit('connection', socket));
    this.#makeWay(socket);
  }

  /**
   * Who takes long keeps no place that others wait for, and goes on without one: devices that make their first message
   * slowly, bad links, TPMs that sign slowly. Of those that we have answered our costly part is done. The others, of whom
   * no whole ClientHello has come, may all send it at the same moment: they are bounded, and what is beyond is closed.
   */
  #makeWay(socket: Socket): void {
    const timer = setInterval(() => {
      const isOver = socket.destroyed || !this.#gate.isInHandshake(socket);
      if (!isOver && this.#gate.waiting === 0) return;
      clearInterval(timer);
      if (isOver) return;
      if (socket.bytesWritten > 0 || this.#keepLate(socket)) this.#gate.handshakeEnded(socket, this.#clock.monotonic());
      else this.#drop(socket, 'silent');
    }, this.#limits.silentHandshakeMs);
    timer.unref();
    socket.once('close', () => clearInterval(timer));
  }

  #keepLate(socket: Socket): boolean {
    // Those that have been answered since are none any more.
    for (const late of this.#late) if (late.bytesWritten > 0) this.#late.delete(late);
    if (this.#late.size >= this.#limits.maxLateHandshakes) return false;
    this.#late.add(socket);
    socket.once('close', () => this.#late.delete(socket));
    return true;
  }

  #secured(socket: TLSSocket): void {
    const tcp = tcpSocketOf(socket);
    if (tcp !== undefined) this.#gate.handshakeEnded(tcp, this.#clock.monotonic());
    const verdict = judgePeer(socket, this.#issuers, this.#clock.now());
    if ('refused' in verdict) this.#refuse(socket, tcp, verdict.refused);
    else this.#events.onSecure(socket, this.#addressOf(tcp), verdict.accepted);
  }

  #failed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    this.#refuse(socket, tcpSocketOf(socket), explainTlsRefusal(error.code, null));
  }

  #refuse(socket: TLSSocket, tcp: Socket | undefined, refusal: TlsRefusal): void {
    // Node reports a handshake that takes too long, but closes nothing.
    socket.on('error', ignore);
    socket.destroy();
    tcp?.destroy();
    this.#events.onRefused(this.#addressOf(tcp), refusal);
  }

  #drop(socket: Socket, reason: DropReason | 'too-many-connections' | 'silent'): void {
    this.#drops.set(reason, (this.#drops.get(reason) ?? 0) + 1);
    socket.on('error', ignore);
    socket.destroy();
  }

  #addressOf(tcp: Socket | undefined): string {
    return (tcp === undefined ? undefined : this.#addresses.get(tcp)) ?? 'unknown';
  }
}

/** Node keeps the wrapped socket in a private field; without it only the address in the log is lost. */
function tcpSocketOf(socket: TLSSocket): Socket | undefined {
  return (socket as TLSSocket & { _parent?: Socket })._parent;
}

function issuersOf({ issuers }: DoorTls): Certificate[] {
  return issuers.flatMap((pem) => parsePem(pem, 'CERTIFICATE')).map((der) => parseCertificate(der));
}

function ignore(): void {}
