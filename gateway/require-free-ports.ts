import { once } from 'node:events';
import { createServer } from 'node:net';
import type { GatewayConfig } from './config.ts';

/**
 * Before anything is made: can every door be opened? A start that fails half way, after a CA was made and certificates
 * were signed, is worse than one that says at once which port is the trouble.
 * @throws Error that names the door, the port and what to do
 */
export async function requireFreePorts(config: GatewayConfig): Promise<void> {
  const doors = [
    ['EST', '--est-port', config.estPort],
    ['MQTT', '--mqtt-port', config.mqttPort],
    ['status', '--status-port', config.statusPort],
    ['operator', '--operator-port', config.operatorPort],
  ] as const;
  for (const [door, option, port] of doors) {
    const same = doors.find(([other, , otherPort]) => port !== 0 && other !== door && otherPort === port);
    if (same !== undefined)
      throw new Error(`the ${door} and the ${same[0]} door have the same port ${port}: change ${option}`);
    if (port !== 0) await tryPort(config.host, port, door, option);
  }
}

async function tryPort(host: string, port: number, door: string, option: string): Promise<void> {
  const server = createServer();
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (cause) {
    throw new Error(explain(cause, host, port, door, option), { cause });
  }
  server.close();
  await once(server, 'close');
}

function explain(cause: unknown, host: string, port: number, door: string, option: string): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} for the ${door} door is taken: stop the other program or choose another with ${option}`;
    case 'EACCES':
      return `port ${port} for the ${door} door needs privileges: choose one above 1023 with ${option}`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `this machine has no address ${host}: change --host`;
    default:
      return `the ${door} door cannot listen on ${host}:${port}: ${cause instanceof Error ? cause.message : String(cause)}`;
  }
}
