import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { HandshakeGate, type HandshakeLimits } from '#gateway/est/handshake-gate.ts';

const LIMITS: HandshakeLimits = {
  inFlight: 4,
  handshakes: 100,
  handshakesPerAddress: 100,
  silentHandshake: 60_000,
  handshakeWait: 2_000,
};
/** Always begin, whatever is worked on. */
const SPARE = 8;

type Guest = { client: Socket; socket: Socket };
type Bench = {
  gate: HandshakeGate;
  /** In their order. */
  begun: Socket[];
  world: { now: number; inWork: number };
  /** So many come one after the other and wait, or begin. */
  come: (count: number, localAddress?: string) => Promise<Guest[]>;
};

const opened: (() => void)[] = [];
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

/** A gate with real sockets and a clock that stands. */
async function open(limits: Partial<HandshakeLimits> = {}): Promise<Bench> {
  const begun: Socket[] = [];
  const world = { now: 0, inWork: 0 };
  const gate = new HandshakeGate(
    { ...LIMITS, ...limits },
    { start: (socket) => begun.push(socket), now: () => world.now, inWork: () => world.inWork },
  );
  const server: Server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const sockets: Socket[] = [];
  opened.push(() => {
    gate.close();
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const come: Bench['come'] = async (count, localAddress = '127.0.0.1') => {
    const guests: Guest[] = [];
    for (let i = 0; i < count; i += 1) {
      const client = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {});
      const [socket] = (await once(server, 'connection')) as [Socket];
      sockets.push(client, socket);
      gate.arrive(socket);
      guests.push({ client, socket });
    }
    return guests;
  };
  return { gate, begun, world, come };
}

test('lets everybody begin while there is room for what they will ask', async () => {
  const { begun, come } = await open({ inFlight: 30 });
  await come(20);
  expect(begun).toHaveLength(20);
});

test('lets twice as many begin as are worked on when there is no room, so that they are told so', async () => {
  const { begun, world, come } = await open();
  world.inWork = 4;
  await come(30);
  expect(begun).toHaveLength(SPARE + 2 * 4);
});

test('lets two more begin for each enrollment that ends, when another took its place', async () => {
  const { gate, begun, world, come } = await open();
  world.inWork = 4;
  await come(40);
  const before = begun.length;
  gate.finished();
  expect(begun).toHaveLength(before + 2);
  gate.finished();
  gate.finished();
  expect(begun).toHaveLength(before + 6);
});

test('saves up no more than it lets begin at once, however many enrollments end', async () => {
  const { gate, begun, world, come } = await open();
  world.inWork = 4;
  for (let i = 0; i < 100; i += 1) gate.finished();
  await come(40);
  expect(begun).toHaveLength(SPARE + 2 * 4);
});

test('takes the oldest first, and the newest as soon as the oldest has waited for long', async () => {
  const { gate, begun, world, come } = await open({ handshakes: 1 });
  const [first] = await come(1);
  const waiting = await come(4);
  const next = () => {
    gate.secured(begun.at(-1) as Socket);
    return begun.at(-1);
  };
  expect(begun).toEqual([first?.socket]);
  expect(next()).toBe(waiting[0]?.socket);
  world.now = 251;
  expect(next()).toBe(waiting[3]?.socket);
  expect(next()).toBe(waiting[2]?.socket);
  expect(next()).toBe(waiting[1]?.socket);
});

test('cuts who has not said hello in time while others wait, and lets who was answered go on without a place', async () => {
  const { world, begun, come } = await open({ handshakes: 2, silentHandshake: 1_000 });
  const [silent, answered] = await come(2);
  silent?.client.write('half a hello');
  answered?.socket.write('what comes after a hello');
  const [, second, third] = await come(3);
  world.now = 1_000;
  await expect.poll(() => begun.length, { interval: 5 }).toBe(4);
  expect(silent?.socket.destroyed).toBe(true);
  // They are late by then.
  expect(begun.slice(2)).toEqual([third?.socket, second?.socket]);
  expect(answered?.socket.destroyed).toBe(false);
});

test('cuts those without a place, too, when it closes', async () => {
  const { gate, world, begun, come } = await open({ handshakes: 1, silentHandshake: 1_000 });
  const [answered] = await come(1);
  answered?.socket.write('what comes after a hello');
  await come(1);
  world.now = 1_000;
  await expect.poll(() => begun.length, { interval: 5 }).toBe(2);
  expect(answered?.socket.destroyed).toBe(false);
  gate.close();
  expect(answered?.socket.destroyed).toBe(true);
});

test('closes who waited too long, and nobody else', async () => {
  const { world, begun, come } = await open({ handshakes: 1 });
  await come(1);
  const [old] = await come(1);
  world.now = 1_500;
  const [young] = await come(1);
  world.now = 2_000;
  await once(old?.client as Socket, 'close');
  expect(begun).toHaveLength(1);
  expect(young?.socket.destroyed).toBe(false);
});

test('takes addresses in turn, however many come from one of them', async () => {
  const { gate, begun, come } = await open({ handshakes: 1 });
  const storm = await come(10);
  const [neighbour] = await come(1, '127.0.0.2');
  gate.secured(storm[0]?.socket as Socket);
  gate.secured(storm[1]?.socket as Socket);
  expect(begun.at(-1)).toBe(neighbour?.socket);
});
