import { hasRoom } from './access-hooks.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import type { Session } from './session.ts';

/**
 * QoS 1, to this one session and not through the subscription tree.
 * @returns false when it has gone or does not read what it was sent before
 */
export function sendMessage(session: Session, topic: string, payload: string, limits: MqttLimits): boolean {
  const { client, socket } = session;
  if (client === undefined || socket.destroyed || !hasRoom(session, limits)) return false;
  // brokerId null: aedes' duplicate filter compares counters of unrelated messages and would drop a message that
  // overtakes another packet.
  client.deliverQoS({ cmd: 'publish', topic, payload, qos: 1, retain: false, dup: false, brokerId: null }, ignore);
  return true;
}

function ignore(): void {}
