import type { Client, ConnectPacket, PublishPacket } from 'aedes';

/** What this door relies on in aedes' clients beyond their documented members; `assertKnownAedes` looks at every start. */
export type BrokerClient = Client & {
  connackSent: boolean;
  will: PublishPacket | null;
  subscriptions: Record<string, unknown>;
  /** True once the client has said DISCONNECT. */
  _disconnected: boolean;
  _parser: PacketParser;
  /** Reads what has come, unless it still works on what was read before. */
  _nextBatch: () => void;
  /** Undoes its `stream.finished` on the connection. */
  _eos: () => void;
  _connectTimer: NodeJS.Timeout | null;
  _keepaliveTimer: NodeJS.Timeout | null;
  _keepaliveInterval: number;
  pause(): void;
  resume(): void;
  deliverQoS(packet: PublishPacket & { brokerId: null }, done: () => void): void;
};

type PacketParser = {
  packet: { length: number };
  _parsePayload: (this: PacketParser) => boolean;
  _emitError(error: Error): void;
  listeners(event: 'packet'): PacketListener[];
  on(event: 'packet', listener: PacketListener): void;
  removeListener(event: 'packet', listener: PacketListener): void;
};

type PacketListener = (this: PacketParser, packet: { cmd: string }) => void;

/** A client may talk on before it has its CONNACK (MQTT 3.1.1 3.1.4): so many packets are kept for it. */
const MAX_EARLY_PACKETS = 8;

/**
 * Takes the first packet instead of aedes. Its own way from CONNECT to CONNACK registers the client in a list that
 * loses and closes the wrong ones when connections of one id overlap, has no place between the decision and the
 * registration for a last look at revocations, and costs a third more time per connect.
 * @param answer decides and sends CONNACK; resolves to true when the client was let in. A rejection ends the connection.
 */
export function holdForConnect(client: BrokerClient, answer: (packet: ConnectPacket) => Promise<boolean>): void {
  const parser = client._parser;
  const [passOn] = parser.listeners('packet');
  if (passOn === undefined) throw new Error('aedes does not listen to its parser');
  const early: { cmd: string }[] = [];
  let isAsked = false;
  const decide = async (packet: ConnectPacket): Promise<void> => {
    if (!(await answer(packet)) || client.closed) return;
    parser.removeListener('packet', hold);
    parser.on('packet', passOn);
    for (const next of early) passOn.call(parser, next);
    client.resume();
  };
  const hold: PacketListener = (packet) => {
    if (isAsked && early.length < MAX_EARLY_PACKETS) {
      early.push(packet);
      return;
    }
    if (isAsked || packet.cmd !== 'connect') {
      client.emit('error', new Error(isAsked ? 'too many packets before CONNACK' : `it is ${packet.cmd}`));
      return;
    }
    isAsked = true;
    if (client._connectTimer !== null) clearTimeout(client._connectTimer);
    client._connectTimer = null;
    client.pause();
    decide(packet as ConnectPacket).catch((error: unknown) => client.conn.destroy(error as Error));
  };
  parser.removeListener('packet', passOn);
  parser.on('packet', hold);
}

/**
 * aedes hears of the end of a connection from `stream.finished`, which makes an error with a stack for every connection
 * that was destroyed, the usual end here. Whoever calls this closes the client when its connection has closed.
 */
export function takeOverClose(client: BrokerClient): void {
  client._eos();
  client._eos = () => {};
}

/** What aedes itself does to a client between CONNECT and CONNACK, less its list of clients and stored sessions. */
export function welcomeClient(client: BrokerClient, id: string, packet: ConnectPacket): void {
  client.id = id;
  client.clean = true;
  client.version = packet.protocolVersion ?? 4;
  const { will } = packet;
  client.will =
    will === undefined
      ? null
      : { cmd: 'publish', topic: will.topic, payload: will.payload, qos: will.qos ?? 0, retain: false, dup: false };
  const keepalive = packet.keepalive ?? 0;
  if (keepalive > 0) {
    // MQTT 3.1.1 3.1.2-24: one and a half times the interval. aedes refreshes this timer with every packet.
    client._keepaliveInterval = keepalive * 1500 + 1;
    client._keepaliveTimer = setTimeout(
      () => client.emit('error', new Error('keep alive timeout')),
      client._keepaliveInterval,
    );
  }
  client.connecting = false;
  client.connected = true;
  client.connackSent = true;
}
