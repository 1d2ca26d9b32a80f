import type { TLSSocket } from 'node:tls';
import mqttPacket, { type Packet } from 'mqtt-packet';

const CONNACK_MS = 15_000;
const KEEPALIVE_SECONDS = 600;

export type LoadSession = {
  send(packet: Packet): void;
  /** DISCONNECT, and the connection closed without waiting. */
  leave(): void;
};

/**
 * CONNECT over a TLS connection; resolves with CONNACK 0. Only the wire format, no client library: the load must cost
 * little beside what is measured.
 */
export function openMqtt(
  socket: TLSSocket,
  clientId: string,
  onPacket: (packet: Packet, session: LoadSession) => void = () => {},
): Promise<LoadSession> {
  return new Promise((resolve, reject) => {
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    const session: LoadSession = {
      send: (packet) => void socket.write(mqttPacket.generate(packet)),
      leave: () => {
        socket.write(mqttPacket.generate({ cmd: 'disconnect' }));
        socket.destroySoon();
      },
    };
    const timer = setTimeout(() => socket.destroy(), CONNACK_MS);
    const onClose = () => reject(new Error('closed before CONNACK'));
    socket.once('close', onClose);
    parser.on('packet', (packet) => {
      if (packet.cmd !== 'connack') return onPacket(packet, session);
      clearTimeout(timer);
      socket.off('close', onClose);
      return packet.returnCode === 0 ? resolve(session) : reject(new Error(`CONNACK ${packet.returnCode}`));
    });
    socket.on('data', (chunk) => parser.parse(chunk));
    session.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId,
      keepalive: KEEPALIVE_SECONDS,
    });
  });
}
