import { readFile } from 'node:fs/promises';
import { connect } from 'node:tls';
import type { ReadyFile } from '#gateway/contract/data-folder.ts';
import { expect } from './expectation.ts';

/** MQTT 3.1.1 CONNECT (3.1): clean session, keepalive 60 s, client id "stranger". */
const CONNECT = Buffer.from('\x10\x14\x00\x04MQTT\x04\x02\x00\x3c\x00\x08stranger', 'latin1');
const CONNACK = 0x20;

/**
 * A stranger without a certificate asks for an MQTT session.
 * @returns how it was turned away
 */
export async function knockWithoutCertificate({ mqtt, rootPem }: ReadyFile): Promise<string> {
  const root = await readFile(rootPem);
  const answer = await new Promise<string>((resolve) => {
    const socket = connect({ host: mqtt.host, port: mqtt.port, ca: root, timeout: 8000 });
    // TLS 1.3: the client has finished before the server has looked for its certificate (RFC 8446 2).
    socket.on('secureConnect', () => socket.write(CONNECT));
    socket.on('data', (data) => {
      const [type, , , code] = data;
      resolve(type === CONNACK && code === 0 ? 'accepted' : `CONNACK ${code}`);
      socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('timeout', () => {
      socket.destroy();
      resolve('accepted: the connection was left open');
    });
    socket.on('close', () => resolve('closed'));
  });
  expect(!answer.startsWith('accepted'), 'a stranger without a certificate to be turned away', answer);
  return answer;
}
