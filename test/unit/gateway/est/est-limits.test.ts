import { once } from 'node:events';
import { Agent } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import * as fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import type { EstLimits } from '#gateway/est/est-deps.ts';
import { createCsr } from '#test/fixtures/doors/certificates.ts';
import {
  basic,
  callEst,
  type EstGateway,
  exchangeBytes,
  openEstGateway,
  tlsOf,
} from '#test/fixtures/doors/est-gateway.ts';
import { agreeOn, NULL_AND_ANONYMOUS, renegotiate } from '#test/fixtures/doors/weak-tls.ts';

const ENROLL = '/.well-known/est/simpleenroll';
const REENROLL = '/.well-known/est/simplereenroll';
const CACERTS = '/.well-known/est/cacerts';
const TICKET = '0123456789abcdefghjkmnpqrs';
const PKCS10 = { 'Content-Type': 'application/pkcs10' };

const opened: EstGateway[] = [];
async function open(limits: Partial<EstLimits> = {}): Promise<EstGateway> {
  const gateway = await openEstGateway(limits);
  gateway.tickets.set(TICKET, { deviceId: 'device-1' });
  opened.push(gateway);
  return gateway;
}
afterEach(async () => {
  await Promise.all(opened.splice(0).map((gateway) => gateway.close()));
});

/** The end of a connection, be it by FIN or by RST, which `once` would throw. */
function cut(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}

test('turns away what is more than it works on, before that is done and with different delays, and serves on', async () => {
  const gateway = await open({ inFlight: 2 });
  const body = (await createCsr('device-1')).toString('base64');
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.fail.hold = promise;
  const enroll = () => callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', TICKET) }, body });
  const calls = Array.from({ length: 6 }, enroll);
  const refused: { status: number; retryAfter: number }[] = [];
  for (const call of calls) {
    void call.then(({ status, headers }) => refused.push({ status, retryAfter: Number(headers['retry-after']) }));
  }
  // What it works on is held: they were not kept until there is room.
  await expect.poll(() => refused.length, { interval: 5 }).toBe(4);
  expect(refused.map(({ status }) => status)).toEqual([503, 503, 503, 503]);
  expect(new Set(refused.map(({ retryAfter }) => retryAfter)).size).toBe(4);
  resolve();
  const statuses = (await Promise.all(calls)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(2);
  expect((await enroll()).status).toBe(200);
  expect(gateway.counted.filter((code) => code === 'OVERLOADED')).toHaveLength(4);
});

test('slows down a device that keeps failing, and not its neighbour at the same address', async () => {
  const gateway = await open({ failuresPerIdentity: 3, identityForgivenAfter: 60_000 });
  gateway.tickets.set('ticketofthe0ther', { deviceId: 'device-2' });
  const body = (await createCsr('device-1')).toString('base64');
  const failing = () => callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', 'wrong') }, body });
  for (let i = 0; i < 3; i += 1) expect((await failing()).status).toBe(401);
  const slowed = await failing();
  expect(slowed.status).toBe(429);
  expect(Number(slowed.headers['retry-after'])).toBeGreaterThan(50);
  expect(slowed.body).toContain('RATE_LIMITED');
  const neighbour = await callEst(gateway, ENROLL, {
    headers: { ...PKCS10, ...basic('device-2', 'ticketofthe0ther') },
    body,
  });
  expect(neighbour.status).toBe(200);
  expect((await callEst(gateway, CACERTS)).status).toBe(200);
});

test('slows down an address that tries many device names', async () => {
  const gateway = await open({ failuresPerAddress: 3, addressForgivenAfter: 60_000 });
  const statuses: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const headers = { ...PKCS10, ...basic(`device-${i}`, 'wrong') };
    statuses.push((await callEst(gateway, ENROLL, { headers, body: 'AAAA' })).status);
  }
  expect(statuses).toEqual([401, 401, 401, 429, 429]);
});

test('serves good tickets and certificates at an address from where strangers flood', async () => {
  const gateway = await open({ failuresPerAddress: 3, addressForgivenAfter: 60_000 });
  const body = (await createCsr('device-1')).toString('base64');
  const stranger = (i: number) =>
    callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic(`device-${i}`, 'wrong') }, body });
  for (let i = 0; i < 4; i += 1) await stranger(i);
  const slowed = await stranger(5);
  expect(slowed.status).toBe(429);
  expect(Number(slowed.headers['retry-after'])).toBeGreaterThan(50);

  const identity = await gateway.authority.issueDevice('device-1');
  gateway.know(identity.der, 'device-1');
  expect((await callEst(gateway, REENROLL, { headers: PKCS10, body, identity })).status).toBe(200);
  const good = { ...PKCS10, ...basic('device-1', TICKET) };
  expect((await callEst(gateway, ENROLL, { headers: good, body })).status).toBe(200);
  // Whoever is known here but fails is told why, not that others failed.
  gateway.tickets.set('spentticket', { deviceId: 'device-2', spent: true });
  const spent = { ...PKCS10, ...basic('device-2', 'spentticket') };
  expect((await callEst(gateway, ENROLL, { headers: spent, body })).status).toBe(403);
  const unknown = await gateway.authority.issueDevice('device-3');
  expect((await callEst(gateway, REENROLL, { headers: PKCS10, body, identity: unknown })).status).toBe(429);
});

test('lets a device in with its ticket, however often a neighbour tried others in its name', async () => {
  const gateway = await open({ failuresPerIdentity: 2, identityForgivenAfter: 60_000 });
  const body = (await createCsr('device-1')).toString('base64');
  const enroll = (ticket: string) =>
    callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', ticket) }, body });
  for (let i = 0; i < 5; i += 1) expect((await enroll(`wrong${i}`)).status).toBe(401);
  expect((await enroll(TICKET)).status).toBe(200);
});

test('slows down a certificate that keeps failing before it costs any more work', async () => {
  const gateway = await open({ failuresPerIdentity: 2, identityForgivenAfter: 60_000 });
  const identity = await gateway.authority.issueDevice('device-1');
  gateway.know(identity.der, 'device-1');
  const renew = () => callEst(gateway, REENROLL, { headers: PKCS10, body: 'AAAA', identity });
  expect([(await renew()).status, (await renew()).status]).toEqual([400, 400]);
  gateway.fail.with = new Error('the operation was asked');
  expect((await renew()).status).toBe(429);
});

test('slows down a device that asks too often, though nothing is wrong with it, and not its neighbour', async () => {
  const gateway = await open({ requestsPerDevice: 3, deviceRequestForgottenAfter: 60_000 });
  gateway.tickets.set('zzzzzzzzzzzzzzzzzzzzzzzzzz', { deviceId: 'device-2' });
  const body = (await createCsr('device-1')).toString('base64');
  const enroll = (deviceId: string, ticket: string) =>
    callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic(deviceId, ticket) }, body });
  for (let turn = 0; turn < 3; turn += 1) expect((await enroll('device-1', TICKET)).status).toBe(200);
  const slowed = await enroll('device-1', TICKET);
  expect([slowed.status, slowed.body.split(':')[0]]).toEqual([429, 'RATE_LIMITED']);
  expect(Number(slowed.headers['retry-after'])).toBeGreaterThan(50);
  expect((await enroll('device-2', 'zzzzzzzzzzzzzzzzzzzzzzzzzz')).status).toBe(200);
  const identity = await gateway.authority.issueDevice('device-1');
  gateway.know(identity.der, 'device-1');
  const renew = () => callEst(gateway, REENROLL, { headers: PKCS10, body, identity });
  const statuses: number[] = [];
  for (let turn = 0; turn < 4; turn += 1) statuses.push((await renew()).status);
  expect(statuses).toEqual([200, 200, 200, 429]);
});

test('slows down one who varies the end of a ticket, however it is typed, and no other ticket', async () => {
  const gateway = await open({ requestsPerTicketPrefix: 4, ticketPrefixForgottenAfter: 60_000 });
  gateway.tickets.set('zzzzzzzzzzzzzzzzzzzzzzzzzz', { deviceId: 'device-2' });
  const body = (await createCsr('device-1')).toString('base64');
  const statusOf = async (deviceId: string, ticket: string) =>
    (await callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic(deviceId, ticket) }, body })).status;
  const guesses = [
    '0123456789aaaa',
    '0123-4567-89bbbb',
    'O123456789CCCC',
    '0i234567dddd',
    '01234567eeee',
    '0 1 2 34567f',
  ];
  const statuses: number[] = [];
  for (const [index, guess] of guesses.entries()) statuses.push(await statusOf(`device-${index}`, guess));
  expect(statuses).toEqual([401, 401, 401, 401, 429, 429]);
  expect(await statusOf('device-2', 'zzzzzzzzzzzzzzzzzzzzzzzzzz')).toBe(200);
});

test('gives an address that asks more than its share what the others leave, and no more', async () => {
  const gateway = await open({ inFlight: 4, requestsPerAddress: 3, addressRequestForgottenAfter: 60_000 });
  const body = (await createCsr('device-1')).toString('base64');
  const enroll = () => callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', TICKET) }, body });
  // Nobody else is there: it goes on.
  for (let turn = 0; turn < 6; turn += 1) expect((await enroll()).status).toBe(200);
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.fail.hold = promise;
  const calls = Array.from({ length: 4 }, enroll);
  const refused: number[] = [];
  for (const call of calls) void call.then(({ status }) => refused.push(status));
  // Half of the places are kept free.
  await expect.poll(() => refused, { interval: 5 }).toEqual([503, 503]);
  resolve();
  expect((await Promise.all(calls)).filter(({ status }) => status === 200)).toHaveLength(2);
});

test('lets 500 devices behind one address enroll and come back without slowing one of them', async () => {
  const gateway = await open();
  const body = (await createCsr('device-1')).toString('base64');
  const tickets = Array.from(
    { length: 500 },
    (_, index) => `${index.toString().padStart(4, '0')}zzzzzzzzzzzzzzzzzzzzzz`,
  );
  for (const ticket of tickets) gateway.tickets.set(ticket, { deviceId: 'device-1' });
  const statuses = new Set<number>();
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  for (let turn = 0; turn < 2; turn += 1) {
    await Promise.all(
      tickets.map(async (ticket) => {
        const headers = { ...PKCS10, ...basic('', ticket) };
        statuses.add((await callEst(gateway, ENROLL, { headers, body, agent })).status);
      }),
    );
  }
  agent.destroy();
  expect(statuses).toEqual(new Set([200]));
});

/** Connections that say nothing, open as far as their client can tell. */
async function holdSilent(gateway: EstGateway, count: number): Promise<{ sockets: Socket[]; closed: () => number }> {
  const sockets = Array.from({ length: count }, () => connectTcp(gateway.port, '127.0.0.1'));
  let closed = 0;
  for (const socket of sockets) socket.on('error', () => {}).on('close', () => (closed += 1));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  return { sockets, closed: () => closed };
}

test('lets go of connections that say nothing as soon as somebody waits for their place', async () => {
  const gateway = await open({ handshakes: 4, silentHandshake: 50 });
  const { closed } = await holdSilent(gateway, 4);
  expect(closed()).toBe(0);
  expect((await callEst(gateway, CACERTS)).status).toBe(200);
  await expect.poll(closed).toBeGreaterThan(0);
});

test('has a newcomer wait while others shake hands, and counts none that has ended', async () => {
  const gateway = await open({ handshakes: 2 });
  for (let turn = 0; turn < 5; turn += 1) expect((await callEst(gateway, CACERTS)).status).toBe(200);
  const agent = new Agent({ keepAlive: true });
  expect((await callEst(gateway, CACERTS, { agent })).status).toBe(200);
  const { sockets } = await holdSilent(gateway, 2);
  let answered = false;
  const waiting = callEst(gateway, CACERTS).then((response) => {
    answered = true;
    return response;
  });
  // Over a connection that is there already: each answer is at least one turn of the door's event loop.
  for (let turn = 0; turn < 30; turn += 1) expect((await callEst(gateway, CACERTS, { agent })).status).toBe(200);
  agent.destroy();
  expect(answered).toBe(false);
  sockets[0]?.destroy();
  expect((await waiting).status).toBe(200);
});

test('has nobody wait for ever', async () => {
  const gateway = await open({ handshakes: 2, handshakeWait: 100 });
  await holdSilent(gateway, 2);
  await expect(callEst(gateway, CACERTS)).rejects.toThrow();
});

test('keeps places for handshakes free for other addresses', async () => {
  const gateway = await open({ handshakes: 4, handshakesPerAddress: 2 });
  const { sockets } = await holdSilent(gateway, 30);
  expect((await callEst(gateway, CACERTS, { localAddress: '127.0.0.2' })).status).toBe(200);
  for (const socket of sockets) socket.destroy();
  expect((await callEst(gateway, CACERTS)).status).toBe(200);
});

test('says 503 to a client of a new connection while it is busy', async () => {
  const gateway = await open({ inFlight: 2 });
  const body = (await createCsr('device-1')).toString('base64');
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.fail.hold = promise;
  const enroll = () => callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', TICKET) }, body });
  const held = [enroll(), enroll()];
  await expect.poll(() => gateway.asked.length, { interval: 5 }).toBe(2);
  expect((await enroll()).status).toBe(503);
  resolve();
  await Promise.all(held);
});

test('says 503 to all of a crowd that comes while it works on all it can, though some say nothing', async () => {
  const gateway = await open({ inFlight: 4 });
  const body = (await createCsr('device-1')).toString('base64');
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.fail.hold = promise;
  const enroll = () => callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', TICKET) }, body });
  const held = Array.from({ length: 4 }, enroll);
  await expect.poll(() => gateway.asked.length, { interval: 5 }).toBe(4);
  // As many as shake hands while nothing else is possible.
  await holdSilent(gateway, 8);
  const refused = await Promise.all(Array.from({ length: 8 }, enroll));
  expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([503]));
  for (const { headers } of refused) expect(Number(headers['retry-after'])).toBeGreaterThan(0);
  resolve();
  expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect((await enroll()).status).toBe(200);
});

test('answers each of a crowd that comes in the same moment, with a certificate or with 503', async () => {
  const gateway = await open({ inFlight: 4 });
  const body = (await createCsr('device-1')).toString('base64');
  const tickets = Array.from({ length: 120 }, (_, index) => `${String(index).padStart(4, '0')}zzzzzzzzzzzzzzzzzzzzzz`);
  for (const ticket of tickets) gateway.tickets.set(ticket, { deviceId: 'device-1' });
  const answers = await Promise.all(
    tickets.map((ticket) => callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('', ticket) }, body })),
  );
  const refused = answers.filter(({ status }) => status === 503);
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(tickets.length - refused.length);
  expect(refused.length).toBeGreaterThan(0);
  for (const { headers } of refused) expect(Number(headers['retry-after'])).toBeGreaterThan(0);
});

test.each([
  ['keeps', 'keep-alive', 8],
  ['closes', 'close', 2],
])('%s the connection of one it says 503 to: the places decide', async (_, connection, connections) => {
  const gateway = await open({ inFlight: 1, connections });
  const body = (await createCsr('device-1')).toString('base64');
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.fail.hold = promise;
  const agent = new Agent({ keepAlive: true });
  const enroll = () => callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', TICKET) }, body, agent });
  const held = enroll();
  await expect.poll(() => gateway.asked.length, { interval: 5 }).toBe(1);
  const refused = await enroll();
  expect([refused.status, refused.headers.connection]).toEqual([503, connection]);
  resolve();
  expect((await held).headers.connection).toBe('keep-alive');
  agent.destroy();
});

test('turns away for lack of room without having looked at the CSR', async () => {
  const gateway = await open({ inFlight: 1 });
  const body = (await createCsr('device-1')).toString('base64');
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.fail.hold = promise;
  const send = (text: string) =>
    callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', TICKET) }, body: text });
  const held = send(body);
  await expect.poll(() => gateway.asked.length, { interval: 5 }).toBe(1);
  expect((await send('not a CSR')).status).toBe(503);
  resolve();
  expect((await held).status).toBe(200);
  expect((await send('not a CSR')).status).toBe(400);
});

test('counts what it turned away for lack of room against nobody', async () => {
  const gateway = await open({ inFlight: 1, requestsPerDevice: 3, deviceRequestForgottenAfter: 60_000 });
  const body = (await createCsr('device-1')).toString('base64');
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.fail.hold = promise;
  const enroll = () => callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', TICKET) }, body });
  const held = enroll();
  await expect.poll(() => gateway.asked.length, { interval: 5 }).toBe(1);
  for (let turn = 0; turn < 5; turn += 1) expect((await enroll()).status).toBe(503);
  // What is no enrollment is served all the same, and a wrong method is still one.
  expect((await callEst(gateway, CACERTS)).status).toBe(200);
  expect((await callEst(gateway, ENROLL)).status).toBe(405);
  resolve();
  expect((await held).status).toBe(200);
  expect((await enroll()).status).toBe(200);
});

/** So many wrong tickets in one breath, before anything is forgiven. */
async function failAtOnce(gateway: EstGateway, count: number): Promise<number[]> {
  const { Authorization } = basic('device-1', 'wrong');
  const head = `POST ${ENROLL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/pkcs10\r\nAuthorization: ${Authorization}\r\n`;
  const asked = Array.from({ length: count }, (_, place) => {
    const last = place === count - 1 ? 'Connection: close\r\n' : '';
    return `${head}${last}Content-Length: 4\r\n\r\nAAAA`;
  });
  const answers = (await exchangeBytes(gateway, asked.join(''))).toString();
  return [...answers.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status));
}

test('writes one line for all that it slowed down at an address, with their number', async () => {
  const gateway = await open({ failuresPerIdentity: 1, identityForgivenAfter: 60_000, refusalLogInterval: 1_000 });
  expect(await failAtOnce(gateway, 1)).toEqual([401]);
  expect(await failAtOnce(gateway, 5)).toEqual([429, 429, 429, 429, 429]);
  const linesOf = (text: string) => gateway.log.filter(({ message }) => message === text);
  const slowed = () =>
    linesOf('est requests refused').reduce((sum, { facts }) => sum + (facts as { count: number }).count, 0);
  await expect.poll(slowed, { interval: 10 }).toBe(5);
  expect(linesOf('est requests refused').length).toBeLessThanOrEqual(2);
  expect(linesOf('est requests refused')[0]).toMatchObject({ level: 'info', facts: { address: '127.0.0.1' } });
  expect(linesOf('est request refused').map(({ facts }) => facts['code'])).toEqual(['TICKET_UNKNOWN']);
});

test('sums up the log of a flood without credentials, and writes the sum at the latest when it closes', async () => {
  const gateway = await openEstGateway({ refusalLogInterval: 60_000 });
  const one = `POST ${ENROLL} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n`;
  // More of one connection at once would be cut.
  const eight = `${`${one}\r\n`.repeat(7)}${one}Connection: close\r\n\r\n`;
  const answers = await Promise.all(Array.from({ length: 25 }, () => exchangeBytes(gateway, eight)));
  expect(answers.join('').match(/^HTTP\/1\.1 401 /gm)).toHaveLength(200);
  await gateway.close();
  expect(gateway.log.filter(({ message }) => message === 'est request refused')).toHaveLength(50);
  expect(gateway.log.filter(({ message }) => message === 'est requests refused')).toMatchObject([
    { facts: { address: '127.0.0.1', count: 150, codes: { CREDENTIALS_MISSING: 150 } } },
  ]);
});

test('forgives with time', async () => {
  const gateway = await open({ failuresPerIdentity: 1, identityForgivenAfter: 1_000 });
  const failing = () =>
    callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', 'wrong') }, body: 'AAAA' });
  const statuses = await failAtOnce(gateway, 6);
  expect([statuses[0], statuses.at(-1)]).toEqual([401, 429]);
  await expect.poll(async () => (await failing()).status, { interval: 50 }).toBe(401);
});

test('does not wait, when it closes, for those who have not shaken hands', async () => {
  const gateway = await openEstGateway({ handshakes: 2 });
  const { closed } = await holdSilent(gateway, 4);
  await gateway.close();
  await expect.poll(closed, { interval: 5 }).toBe(4);
});

test('cuts a connection that never begins its handshake, and one that stops within it', async () => {
  const gateway = await open({ handshakeTimeout: 150 });
  const silent = connectTcp(gateway.port, '127.0.0.1');
  const halfway = connectTcp(gateway.port, '127.0.0.1', () => halfway.write(Buffer.from('160301020001', 'hex')));
  await Promise.all([cut(silent), cut(halfway)]);
  await expect.poll(() => gateway.log.filter(({ message }) => message === 'est handshake failed').length).toBe(2);
});

test('cuts plain HTTP and garbage where TLS is spoken', async () => {
  const gateway = await open();
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', Buffer.from('00ff00ff00ff', 'hex'), '\x10\x0c\0\x04MQTT']) {
    const socket = connectTcp(gateway.port, '127.0.0.1', () => socket.write(bytes));
    socket.resume();
    await cut(socket);
  }
  expect((await callEst(gateway, CACERTS)).status).toBe(200);
});

test('answers 408 to headers and to a body that never end', async () => {
  const gateway = await open({ headersTimeout: 200, requestTimeout: 300 });
  const head = `POST ${ENROLL} HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic('device-1', TICKET).Authorization}\r\n`;
  const [headers, body] = await Promise.all([
    exchangeBytes(gateway, head),
    exchangeBytes(gateway, `${head}Content-Length: 100\r\n\r\nAAAA`),
  ]);
  expect(headers.toString()).toMatch(/^HTTP\/1\.1 408 /);
  expect(body.toString()).toMatch(/^HTTP\/1\.1 408 /);
});

test.each([
  ['431', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`],
  ['400', 'this is no HTTP at all\r\n\r\n'],
  ['400', `POST ${ENROLL} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`],
])('answers %s to a broken request', async (status, bytes) => {
  const gateway = await open();
  const text = (await exchangeBytes(gateway, bytes)).toString();
  expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(text).toMatch(/\(attempt a-[0-9a-f]{16}\)\n$/);
});

test.each([
  ['400', 'no Host header', 'Host header is missing', ''],
  ['400', 'two Host headers', 'more than one Host header', 'Host: a\r\nHost: b\r\n'],
  ['417', 'an unknown expectation', 'the Expect header', 'Host: x\r\nExpect: banana\r\n'],
])('answers %s with words to %s', async (status, _, words, lines) => {
  const gateway = await open();
  const ask = (body: string) =>
    exchangeBytes(
      gateway,
      `POST ${ENROLL} HTTP/1.1\r\nConnection: close\r\n${lines}Content-Length: ${body.length}\r\n\r\n${body}`,
    );
  for (const answer of [await ask(''), await ask('A'.repeat(100_000))]) {
    const text = answer.toString();
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(text).toContain('\r\nContent-Type: text/plain; charset=utf-8\r\n');
    expect(text).toMatch(new RegExp(`\r\n\r\nREQUEST_INVALID: .*${words}.*\\(attempt a-[0-9a-f]{16}\\)\n$`));
  }
});

test.each([
  ['HTTP/1.0 without a Host header', 'HTTP/1.0\r\n'],
  ['the expectation to be told to go on', 'HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n'],
])('serves %s', async (_, lines) => {
  const text = (await exchangeBytes(await open(), `GET ${CACERTS} ${lines}\r\n`)).toString();
  expect(text).toMatch(/^(HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.[01] 200 /);
});

test('closes what is more than it has places for', async () => {
  const gateway = await open({ connections: 3 });
  const sockets = Array.from({ length: 5 }, () => connectTcp(gateway.port, '127.0.0.1'));
  let closed = 0;
  for (const socket of sockets) socket.on('error', () => {}).on('close', () => (closed += 1));
  await expect.poll(() => closed, { interval: 5 }).toBe(2);
  for (const socket of sockets) socket.destroy();
  await expect.poll(async () => (await callEst(gateway, CACERTS).catch(() => ({ status: 0 }))).status).toBe(200);
});

test('keeps places free when one address opens many connections', async () => {
  const gateway = await open({ connectionsPerAddress: 3 });
  const sockets = Array.from({ length: 5 }, () => connectTcp(gateway.port, '127.0.0.1'));
  let closed = 0;
  for (const socket of sockets) socket.on('error', () => {}).on('close', () => (closed += 1));
  await expect.poll(() => closed, { interval: 5 }).toBe(2);
  for (const socket of sockets) socket.destroy();
  await expect.poll(async () => (await callEst(gateway, CACERTS).catch(() => ({ status: 0 }))).status).toBe(200);
});

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'speaks %s, and never resumes a session without the certificate',
  async (version) => {
    const gateway = await open();
    let session: Buffer | undefined;
    for (let round = 0; round < 2; round += 1) {
      const socket = connectTls({
        host: '127.0.0.1',
        port: gateway.port,
        ca: gateway.authority.root.pem,
        minVersion: version,
        maxVersion: version,
        ...(session === undefined ? {} : { session }),
      });
      socket.on('session', (ticket: Buffer) => {
        session = ticket;
      });
      await once(socket, 'secureConnect');
      expect(socket.getProtocol()).toBe(version);
      expect(socket.isSessionReused()).toBe(false);
      socket.end(`GET ${CACERTS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      socket.resume();
      await once(socket, 'close');
    }
  },
);

test('refuses TLS 1.1', async () => {
  const gateway = await open();
  const socket = connectTls({
    host: '127.0.0.1',
    port: gateway.port,
    ca: gateway.authority.root.pem,
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  });
  const [error] = (await once(socket, 'error')) as [Error];
  expect(String(error)).toMatch(/protocol version|unsupported protocol|ECONNRESET/i);
});

test.each(NULL_AND_ANONYMOUS)('agrees on no suite of %s (RFC 7030 3.3)', async (suites) => {
  const { port, authority } = await open();
  const at = { host: '127.0.0.1', port, ca: authority.root.pem };
  expect(await agreeOn(suites, at)).toMatchObject({ refused: expect.stringMatching(/handshake failure|no cipher/i) });
  expect(await agreeOn('ECDHE-ECDSA-AES128-GCM-SHA256', at)).toHaveProperty('suite');
});

test('takes no second handshake on a connection: whose it is does not change', async () => {
  const { port, authority } = await open();
  const socket = connectTls({ host: '127.0.0.1', port, ca: authority.root.pem, maxVersion: 'TLSv1.2' });
  await once(socket, 'secureConnect');
  expect(String(await renegotiate(socket))).toMatch(/no.renegotiation|closed/i);
  socket.destroy();
});

test('shows a new certificate after a reload and still asks for the client one', async () => {
  const gateway = await open();
  const renewed = await gateway.authority.issueServer();
  gateway.door.reload(tlsOf(gateway.authority, renewed));
  const socket = connectTls({ host: '127.0.0.1', port: gateway.port, ca: gateway.authority.root.pem });
  await once(socket, 'secureConnect');
  expect(socket.getPeerX509Certificate()?.raw.equals(renewed.der)).toBe(true);
  socket.destroy();
  const identity = await gateway.authority.issueDevice('device-1');
  gateway.know(identity.der, 'device-1');
  const body = (await createCsr('device-1')).toString('base64');
  const response = await callEst(gateway, REENROLL, { headers: PKCS10, body, identity });
  expect(response.status).toBe(200);
});

test('finishes a running request when it closes, and accepts no other', async () => {
  const gateway = await openEstGateway();
  gateway.tickets.set(TICKET, { deviceId: 'device-1' });
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.fail.hold = promise;
  const body = (await createCsr('device-1')).toString('base64');
  let answered = false;
  const running = callEst(gateway, ENROLL, { headers: { ...PKCS10, ...basic('device-1', TICKET) }, body }).then(
    (response) => {
      answered = true;
      return response;
    },
  );
  // The request is inside: nothing comes back while it is held.
  await expect.poll(() => gateway.asked.length).toBe(1);
  const closed = gateway.close();
  await expect(callEst(gateway, CACERTS)).rejects.toThrow();
  expect(answered).toBe(false);
  resolve();
  expect((await running).status).toBe(200);
  await closed;
});

test('never answers 500 to any body, credentials or headers', async () => {
  const gateway = await open({
    failuresPerAddress: 100_000,
    failuresPerIdentity: 100_000,
    requestsPerDevice: 100_000,
    requestsPerTicketPrefix: 100_000,
  });
  const csr = await createCsr('device-1');
  const body = fc.oneof(
    fc.string().map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(Buffer.from(bytes).toString('base64'))),
    // A real request with one byte changed, and cut.
    fc.tuple(fc.nat(csr.length - 1), fc.nat(255), fc.nat(csr.length)).map(([at, value, length]) => {
      const changed = Buffer.from(csr);
      changed[at] = value;
      return Buffer.from(changed.subarray(0, length).toString('base64'));
    }),
  );
  const authorization = fc.oneof(
    fc.constant(basic('device-1', TICKET).Authorization),
    fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) }),
    fc.string().map((text) => `Basic ${Buffer.from(text).toString('base64')}`),
  );
  await fc.assert(
    fc.asyncProperty(body, authorization, async (bytes, header) => {
      const { status } = await callEst(gateway, ENROLL, { headers: { ...PKCS10, Authorization: header }, body: bytes });
      expect([200, 400, 401, 403]).toContain(status);
    }),
    { numRuns: 300 },
  );
});
