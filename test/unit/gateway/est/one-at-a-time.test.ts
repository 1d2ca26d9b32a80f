import { once } from 'node:events';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
async function send(text: string, answers = Number.POSITIVE_INFINITY): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: gateway.port, ca: gateway.authority.root.pem });
  await once(socket, 'secureConnect');
  let received = '';
  const closed = once(socket, 'close');
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
    if (received.split('HTTP/1.1 ').length > answers) socket.end();
  });
  // Cut in the middle of what it sends.
  socket.on('error', () => {});
  socket.write(text);
  await closed;
  return received;
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
