import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { handleOneAtATime } from '#gateway/runtime/one-at-a-time.ts';
import { type EstGateway, openEstGateway } from '#test/fixtures/doors/est-gateway.ts';

let gateway: EstGateway;
/** How often the door was busy with a request for CA certificates. */
let looks = 0;
beforeAll(async () => {
  gateway = await openEstGateway();
  const { groups } = gateway;
  const get = groups.get.bind(groups);
  groups.get = (name) => {
    looks += 1;
    return get(name);
  };
});
afterAll(() => gateway.close());

const get = (operation: string) => `GET /.well-known/est/default/${operation} HTTP/1.1\r\nHost: gate\r\n\r\n`;

/** @returns what came back until the connection was closed, or had brought so many answers */
async function send(text: string, answers?: number): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: gateway.port, ca: gateway.authority.root.pem });
  await once(socket, 'secureConnect');
  return sendOver(socket, text, answers);
}

function sendOver(socket: Socket, text: string, answers = Number.POSITIVE_INFINITY): Promise<string> {
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
    if (received.split('HTTP/1.1 ').length > answers) socket.end();
  });
  // Cut in the middle of what it sends.
  socket.on('error', () => {});
  socket.write(text);
  return new Promise((resolve) => {
    socket.once('close', () => resolve(received));
  });
}

test('requests that come before the first is answered are answered one after the other', async () => {
  const received = await send(`${get('cacerts')}${get('nothing')}${get('csrattrs')}`, 3);
  expect(received.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200']);
  expect(received.match(/^Content-Type: \S+/gm)).toMatchObject([
    expect.stringContaining('pkcs7'),
    expect.stringContaining('text/plain'),
    expect.stringContaining('csrattrs'),
  ]);
});

test('who sends a thousand at once is cut after a few, and nobody waits for the rest', async () => {
  looks = 0;
  const received = await send(get('cacerts').repeat(1000));
  expect(looks).toBeLessThanOrEqual(2);
  expect(received.split('HTTP/1.1 200').length - 1).toBeLessThanOrEqual(2);
});

test('nothing is worked on that came behind what was answered with an end of the connection (RFC 9112 9.6)', async () => {
  const worked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    worked.push(request.url);
    setImmediate(() => response.writeHead(200, { Connection: 'close' }).end('last'));
  });
  handleOneAtATime(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket = connectTcp((server.address() as AddressInfo).port, '127.0.0.1');
  const received = await sendOver(socket, `${get('cacerts')}${get('csrattrs')}${get('nothing')}`);
  server.close();
  expect(received.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 200']);
  expect(worked).toEqual(['/.well-known/est/default/cacerts']);
});
