import type { ConnectPacket } from 'aedes';

/** What a CONNECT asks for, as far as this door cares. User name and password are not looked at. */
export type ConnectRequest = { clientId: string; clean: boolean; keepalive: number; willTopic: string | undefined };

/** A refusal that needs nobody's opinion. `returnCode` as in MQTT 3.1.1 3.2.2.3. */
export type ConnectRefusal = { returnCode: number; code: string; detail: string };

const UNACCEPTABLE_PROTOCOL_VERSION = 1;
const IDENTIFIER_REJECTED = 2;

export function readConnect(packet: ConnectPacket): ConnectRequest | ConnectRefusal {
  const version: number = packet.protocolVersion ?? 0;
  if (version !== 3 && version !== 4) {
    // A client of MQTT 5 understands this CONNACK although it has the form of 3.1.1 (MQTT 5 4.13.2 leaves it to us).
    const detail = `MQTT protocol level ${version} is not spoken here: use MQTT 3.1.1`;
    return { returnCode: UNACCEPTABLE_PROTOCOL_VERSION, code: 'MQTT_VERSION_NOT_SUPPORTED', detail };
  }
  if ((packet as { bridgeMode?: boolean }).bridgeMode === true) {
    const detail = 'bridges are not let in';
    return { returnCode: UNACCEPTABLE_PROTOCOL_VERSION, code: 'MQTT_VERSION_NOT_SUPPORTED', detail };
  }
  const clean = packet.clean === true;
  if (packet.clientId === '' && !clean) {
    // MQTT 3.1.1 3.1.3-8: without a name there is no session to keep.
    const detail = 'an empty client id needs CleanSession 1';
    return { returnCode: IDENTIFIER_REJECTED, code: 'CLIENT_ID_REQUIRED', detail };
  }
  return { clientId: packet.clientId, clean, keepalive: packet.keepalive ?? 0, willTopic: packet.will?.topic };
}

/** Session present is always 0: nothing is kept between connections (MQTT 3.1.1 3.2.2-3). */
export function formatConnack(returnCode: number): Buffer {
  return Buffer.of(0x20, 0x02, 0x00, returnCode);
}
