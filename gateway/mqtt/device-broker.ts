import { Duplex } from 'node:stream';
import { Aedes, type AedesOptions, type PublishPacket } from 'aedes';
import type { BrokerClient } from './broker-client.ts';

type Done = (error?: Error) => void;

/** Every guard of this folder was read against and tested with this one. */
const KNOWN_VERSION = '1.2.0';

/**
 * Takes a packet of a device before it reaches other sessions.
 * @returns true when it has dealt with it; false to let it go on to the subscribers.
 */
export type Intercept = (client: BrokerClient, packet: PublishPacket, done: Done) => boolean;

/**
 * aedes without its `$SYS` topics, which carry every client's id and subscriptions, can close a client by its id, and
 * cost publications per connect. Its list of clients stays empty: the session table knows who is connected.
 */
export class DeviceBroker extends Aedes {
  readonly #intercept: Intercept;

  constructor(options: AedesOptions, intercept: Intercept) {
    super(options);
    this.#intercept = intercept;
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
}

/** @throws Error when the installed aedes is not the one the guards were written for. */
export function assertKnownAedes(broker: DeviceBroker): void {
  const { version } = broker as unknown as { version: string };
  const probe = broker.handle(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })) as BrokerClient;
  const isKnown = version === KNOWN_VERSION && hasKnownFields(probe);
  probe.conn.destroy();
  if (!isKnown) {
    throw new Error(`aedes ${version} is not the ${KNOWN_VERSION} this gateway was tested with; run "npm ci"`);
  }
}

function hasKnownFields(client: BrokerClient): boolean {
  const parser = client._parser;
  return (
    typeof parser._parsePayload === 'function' &&
    typeof parser._emitError === 'function' &&
    parser.packet.length === -1 &&
    parser.listeners('packet').length === 1 &&
    typeof client._eos === 'function' &&
    typeof client._nextBatch === 'function' &&
    typeof client.deliverQoS === 'function' &&
    typeof client.pause === 'function' &&
    typeof client.resume === 'function' &&
    typeof client._disconnected === 'boolean' &&
    typeof client.connackSent === 'boolean' &&
    client._connectTimer !== null &&
    client._keepaliveTimer === null &&
    client._keepaliveInterval === -1 &&
    client.will === null &&
    Object.getPrototypeOf(client.subscriptions) === null
  );
}

function ignore(): void {}
