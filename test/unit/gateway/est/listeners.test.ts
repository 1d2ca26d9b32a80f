import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { type Listening, listenTogether } from '#gateway/est/listeners.ts';

const AT = { host: '127.0.0.1', port: 0 };
const ACCEPTED = { pauseOnConnect: false, noDelay: true };

const sockets: Socket[] = [];
const open: Listening[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(open.splice(0).map((listening) => listening.close()));
});

async function listen(): Promise<{ server: Server; listening: Listening; accepted: Socket[] }> {
  const accepted: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    sockets.push(socket);
    accepted.push(socket);
  });
  const listening = await listenTogether(server, AT, ACCEPTED);
  open.push(listening);
  return { server, listening, accepted };
}

function knock(port: number): Socket {
  const socket = connect(port, AT.host).on('error', () => {});
  sockets.push(socket);
  return socket;
}

test.runIf(process.platform === 'linux')('accepts many connections in one turn of the event loop', async () => {
  const { listening, accepted } = await listen();
  const clients = Array.from({ length: 60 }, () => knock(listening.port));
  // Connected as far as the kernel is concerned: what is counted is how long they wait for the server.
  await Promise.all(clients.map((client) => once(client, 'connect')));
  let turns = 0;
  while (accepted.length < clients.length) {
    await nextTurn();
    turns += 1;
  }
  expect(turns).toBeLessThan(20);
});

test('takes connections of all its sockets as those of one server, and none when it is closed', async () => {
  const { server, listening, accepted } = await listen();
  const clients = Array.from({ length: 20 }, () => knock(listening.port));
  await expect.poll(() => accepted.length, { interval: 5 }).toBe(20);
  let ended = false;
  const closed = listening.close().then(() => (ended = true));
  expect(server.listening).toBe(false);
  const [error] = (await once(knock(listening.port), 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNREFUSED');
  expect(ended).toBe(false);
  for (const client of clients) client.destroy();
  await closed;
});

test('says when its port is taken', async () => {
  const { server, listening } = await listen();
  expect(server.listening).toBe(true);
  const other = createServer();
  other.listen(listening.port, AT.host);
  const [error] = (await once(other, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('EADDRINUSE');

  const plain = createServer();
  plain.listen(0, AT.host);
  await once(plain, 'listening');
  const address = plain.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  await expect(listenTogether(createServer(), { ...AT, port }, ACCEPTED)).rejects.toThrow(/EADDRINUSE/);
  plain.close();
  // One of its own kind, which the kernel would let in.
  await expect(listenTogether(createServer(), { ...AT, port: listening.port }, ACCEPTED)).rejects.toThrow(/EADDRINUSE/);
});
