import { readFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { DATA_FOLDER, type DoorAddress, type Doors } from '#gateway/contract/data-folder.ts';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';

const TIMEOUT_MS = 3000;

/** Knocks at every door under the name devices use, and verifies the certificate it shows as a device would. */
export async function checkDoors(doors: Doors, dataDir: string): Promise<HealthCheck[]> {
  const root = await readFile(join(dataDir, DATA_FOLDER.rootCertificate));
  return Promise.all([
    checkDoor('EST', doors.est, root),
    checkDoor('MQTT', doors.mqtt, root),
    checkDoor('operator', doors.operator, root),
    checkDoor('status', doors.status, undefined),
  ]);
}

async function checkDoor(door: string, { host, port }: DoorAddress, root: Buffer | undefined): Promise<HealthCheck> {
  const name = `${door} door`;
  const at = `${host}:${port}`;
  try {
    await knock(host, port, root);
    return { name, ok: true, detail: root ? `${at} shows a certificate that devices accept` : `${at} answers` };
  } catch (error) {
    return {
      name,
      ok: false,
      detail: `${at}: ${error instanceof Error ? error.message : String(error)}`,
      advice: 'devices use this name and port: check DNS and firewall, or serve with --public-host and --name',
    };
  }
}

function knock(host: string, port: number, root: Buffer | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    // servername only for names: TLS has no address in SNI (RFC 6066 3). The host is verified either way.
    const socket = root ? connectTls({ host, port, ca: root }) : createConnection({ host, port });
    const done = (error?: Error) => {
      socket.destroy();
      if (error) reject(error);
      else resolve();
    };
    socket.setTimeout(TIMEOUT_MS, () => done(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    socket.once(root ? 'secureConnect' : 'connect', () => done());
    socket.once('error', done);
    socket.once('close', () => done(new Error('closed during the handshake')));
  });
}
