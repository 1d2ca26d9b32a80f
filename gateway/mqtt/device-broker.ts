import { Duplex } from 'node:stream';
import { Aedes, type AedesOptions, type Client, type PublishPacket } from 'aedes';

/** What this door relies on in aedes beyond its documented members; checked at every start by `assertKnownAedes`. */
export type BrokerClient = Client & {
  will: PublishPacket | null;
  subscriptions: Record<string, unknown>;
  /** True once the client has said DISCONNECT. */
  _disconnected: boolean;
  _parser: PacketParser;
  deliverQoS(packet: PublishPacket & { brokerId: null }, done: () => void): void;
};

export type PacketParser = {
  packet: { length: number };
  _parsePayload: (this: PacketParser) => boolean;
  _emitError(error: Error): void;
};

type Done = (error?: Error) => void;

/** The fields of `Aedes` that its types leave out. */
type AedesInternals = { clients: Record<string, BrokerClient>; version: string };

/** Every guard of this folder was read against and tested with this one. */
const KNOWN_VERSION = '1.2.0';

/**
 * Takes a packet of a device before it reaches other sessions.
 * @returns true when it has dealt with it; false to let it go on to the subscribers.
 */
export type Intercept = (client: BrokerClient, packet: PublishPacket, done: Done) => boolean;

/**
 * aedes without its list of clients as the truth and without its `$SYS` topics.
 *
 * Its own list loses a live client when the older connection of the same id closes late, and lets a connection that
 * died during CONNECT close a live one; here take-over is the session table's business, and the list only follows.
 * The `$SYS` topics carry every client's id and subscriptions, and cost a publication per connect.
 */
export class DeviceBroker extends Aedes {
  readonly #intercept: Intercept;

  constructor(options: AedesOptions, intercept: Intercept) {
    super(options);
    this.#intercept = intercept;
  }

  /** Called by aedes when CONNECT was granted. */
  registerClient(client: BrokerClient): void {
    if (client.closed || client.conn.destroyed) return;
    const { clients } = this.#internals();
    if (clients[client.id] === undefined) this.connectedClients += 1;
    clients[client.id] = client;
  }

  /** Called by aedes when a client that was authorized has closed. */
  unregisterClient(client: BrokerClient): void {
    const { clients } = this.#internals();
    if (clients[client.id] !== client) return;
    delete clients[client.id];
    this.connectedClients -= 1;
  }

  override publish(packet: PublishPacket, clientOrDone: BrokerClient | Done | null, done?: Done): void {
    const client = typeof clientOrDone === 'function' ? null : clientOrDone;
    const callback = (typeof clientOrDone === 'function' ? clientOrDone : done) ?? ignore;
    if (packet.topic.startsWith('$')) {
      callback();
      return;
    }
    if (client !== null && this.#intercept(client, packet, callback)) return;
    // Its types leave out the middle argument.
    const args = [packet, client, callback] as unknown as [PublishPacket, Done];
    super.publish(...args);
  }

  #internals(): AedesInternals {
    return this as unknown as AedesInternals;
  }
}

/** @throws Error when the installed aedes is not the one the guards were written for. */
export function assertKnownAedes(broker: DeviceBroker): void {
  const { version } = broker as unknown as AedesInternals;
  const probe = broker.handle(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })) as BrokerClient;
  const known =
    version === KNOWN_VERSION &&
    typeof Reflect.get(Aedes.prototype, 'registerClient') === 'function' &&
    typeof Reflect.get(Aedes.prototype, 'unregisterClient') === 'function' &&
    typeof probe.deliverQoS === 'function' &&
    typeof probe._parser._parsePayload === 'function' &&
    typeof probe._parser._emitError === 'function' &&
    probe._parser.packet.length === -1 &&
    typeof probe._disconnected === 'boolean' &&
    Object.getPrototypeOf(probe.subscriptions) === null;
  probe.conn.destroy();
  if (!known) {
    throw new Error(`aedes ${version} is not the ${KNOWN_VERSION} this gateway was tested with; run "npm ci"`);
  }
}

function ignore(): void {}
