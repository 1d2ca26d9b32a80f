import { chmodSync, existsSync, linkSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { AuthorityError, type SucceededAuthority } from '#ca/ports/certificate-authority.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import { type ConnectOptions, connectAuthority } from '#ca/socket/authority-client.ts';
import { listenAuthority } from '#ca/socket/authority-server.ts';
import { type Frame, FrameError, FrameReader, formatFrame } from '#ca/socket/frame.ts';
import {
  claimOrder,
  deviceOrder,
  newSerial,
  noticeSignerOrder,
  openTestAuthority,
  registrarOrder,
  serverOrder,
} from '#test/fixtures/ca/authority.ts';
import { DAY, NOW } from '#test/fixtures/ca/certificates.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';
import { computingTime } from '#test/fixtures/processes/computing-time.ts';

const log = pino({ enabled: false });

async function listen(authority: SucceededAuthority, path = join(tempFolder(), 'a.sock')) {
  const server = await listenAuthority(authority, { path, log });
  onTestFinished(() => server.close());
  return { path, server };
}

function client(path: string, options?: ConnectOptions) {
  const authority = connectAuthority(path, options);
  onTestFinished(() => authority.close());
  return authority;
}

describe('the authority over its socket', () => {
  it('answers as it does without', async () => {
    const { authority } = await openTestAuthority();
    const { path } = await listen(authority);
    const remote = client(path);
    expect(await remote.describe()).toEqual(await authority.describe());
    for (const order of [
      deviceOrder({ hardwareSerial: 'x' }),
      claimOrder(),
      registrarOrder(),
      serverOrder(),
      noticeSignerOrder(),
    ]) {
      const der = await remote.issue(order);
      expect(parseCertificate(der).serial).toBe(order.serial);
      expect(await remote.issue(order)).toEqual(der);
      expect(await remote.findIssued(order.serial)).toEqual(der);
    }
    expect(await remote.findIssued(newSerial())).toBeUndefined();
    const entries = formatRevokedEntry({ serial: '1f', revokedAt: NOW, reason: 'superseded' });
    const crl = await remote.signCrl({ number: 4, thisUpdate: NOW, nextUpdate: NOW + DAY, entries });
    expect(parseCrl(crl).number).toBe(4);
    expect((await remote.describe()).lastCrlNumber).toBe(4);
  });

  it('tells errors by their code', async () => {
    const { authority } = await openTestAuthority();
    const remote = client((await listen(authority)).path);
    const order = deviceOrder();
    await remote.issue(order);
    await refused(remote.issue(deviceOrder({ serial: order.serial })), 'SERIAL_REUSED');
    await refused(remote.issue(deviceOrder({ deviceId: 'a/b' })), 'ORDER_MALFORMED');
    await refused(remote.issue(deviceOrder({ lifetimeSeconds: 1 })), 'PROFILE_REFUSED');
    await refused(remote.issue({ ...order, profile: 'ca' } as never), 'PROFILE_UNKNOWN');
    await refused(remote.issue({ ...order, extensions: [] } as never), 'ORDER_MALFORMED');
    await refused(
      remote.signCrl({ number: 0, thisUpdate: 0, nextUpdate: 0, entries: Buffer.alloc(0) }),
      'ORDER_MALFORMED',
    );
    const entries = Buffer.from('no');
    await refused(remote.signCrl({ number: 1, thisUpdate: NOW, nextUpdate: NOW + DAY, entries }), 'CRL_REFUSED');
  });

  it('says nothing outside about what it did not foresee', async () => {
    const { authority } = await openTestAuthority();
    const broken = { ...methodsOf(authority), describe: () => Promise.reject(new Error('secret path')) };
    const remote = client((await listen(broken)).path);
    const error = await remote.describe().catch((error: unknown) => error);
    expect(error).toMatchObject({ code: 'AUTHORITY_FAILED' });
    expect(String(error)).not.toContain('secret');
  });

  it('answers many calls at once on one connection, in any order', async () => {
    const { authority } = await openTestAuthority();
    const remote = client((await listen(authority)).path);
    const orders = Array.from({ length: 600 }, (_, i) => deviceOrder({ deviceId: `d${i}` }));
    const certificates = await Promise.all(orders.map((order) => remote.issue(order)));
    expect(certificates.map((der) => parseCertificate(der).serial)).toEqual(orders.map(({ serial }) => serial));
  });

  it('carries a CRL of 100 000 entries', async () => {
    const { authority } = await openTestAuthority();
    const remote = client((await listen(authority)).path);
    const entries = Buffer.concat(
      Array.from({ length: 100_000 }, () =>
        formatRevokedEntry({ serial: newSerial(), revokedAt: NOW, reason: 'superseded' }),
      ),
    );
    const started = computingTime();
    const crl = await remote.signCrl({ number: 1, thisUpdate: NOW, nextUpdate: NOW + DAY, entries });
    // Both ends in one: the octets are carried and framed once, not gathered anew with each piece that comes.
    expect(computingTime() - started).toBeLessThan(5_000);
    expect(parseCrl(crl).revoked.size).toBe(100_000);
  });
});

describe('authority server', () => {
  it('opens its socket to nobody else', async () => {
    const { authority } = await openTestAuthority();
    const { path } = await listen(authority);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('takes the place of a socket file on which nobody answers', async () => {
    const { authority } = await openTestAuthority();
    const path = join(tempFolder(), 'a.sock');
    // What kill -9 leaves: a file bound once, with nobody behind it.
    const left = createServer().listen(path);
    await new Promise((resolve) => left.once('listening', resolve));
    const kept = `${path}.kept`;
    linkSync(path, kept);
    await new Promise((resolve) => left.close(resolve));
    renameSync(kept, path);
    await listen(authority, path);
    expect((await client(path).describe()).trustDomain).toBe('gatehouse.internal');
  });

  it('leaves a socket alone on which somebody answers, and a file that is no socket', async () => {
    const { authority } = await openTestAuthority();
    const { path } = await listen(authority);
    await expect(listenAuthority(authority, { path, log })).rejects.toThrow(/another authority answers/);
    expect((await client(path).describe()).trustDomain).toBe('gatehouse.internal');
    const folder = join(tempFolder(), 'folder');
    mkdirSync(folder);
    await expect(listenAuthority(authority, { path: folder, log })).rejects.toMatchObject({ code: 'AUTHORITY_FAILED' });
    expect(existsSync(folder)).toBe(true);
  });

  it('says so when the folder of the socket is missing or closed', async () => {
    const { authority } = await openTestAuthority();
    const path = '/does/not/exist/a.sock';
    await expect(listenAuthority(authority, { path, log })).rejects.toMatchObject({ code: 'AUTHORITY_FAILED' });
  });

  it.each([
    ['a frame of 4 GB', Buffer.from('ffffffff', 'hex')],
    ['a frame of nothing', Buffer.from('00000000', 'hex')],
    ['JSON longer than its frame', Buffer.from('00000008000000ff7b7d7b7d', 'hex')],
    ['no JSON', Buffer.from('0000000600000002ffff', 'hex')],
    ['a request without id', Buffer.concat(formatFrame({ method: 'describe' }))],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('hangs up on %s and goes on serving others', async (_what, bytes) => {
    const { authority } = await openTestAuthority();
    const { path } = await listen(authority);
    const socket = connect(path);
    await new Promise((resolve) => {
      socket.once('close', resolve);
      socket.on('error', () => undefined);
      socket.write(bytes);
    });
    expect((await client(path).describe()).trustDomain).toBe('gatehouse.internal');
  });

  it('answers an unknown method and goes on', async () => {
    const { authority } = await openTestAuthority();
    const { path } = await listen(authority);
    const socket = connect(path);
    onTestFinished(() => void socket.destroy());
    const frames = readFrames(socket);
    for (const json of [
      { id: 7, method: 'signAnything' },
      { id: 8, method: 'issue', order: 5 },
      { id: 9, method: 'describe', more: 1 },
    ]) {
      socket.write(Buffer.concat(formatFrame(json)));
    }
    for (const id of [7, 8, 9]) {
      expect((await frames.next()).value?.json).toMatchObject({ id, ok: false, code: 'ORDER_MALFORMED' });
    }
  });

  it('works on no more than 256 requests of one connection at a time', async () => {
    const { authority } = await openTestAuthority();
    let started = 0;
    const gate = Promise.withResolvers<void>();
    const full = Promise.withResolvers<void>();
    const slow: SucceededAuthority = {
      ...methodsOf(authority),
      describe: async () => {
        started += 1;
        if (started === 256) full.resolve();
        await gate.promise;
        return authority.describe();
      },
    };
    const { path } = await listen(slow);
    const remote = client(path);
    const calls = Array.from({ length: 4000 }, () => remote.describe());
    await full.promise;
    // Another connection is served meanwhile; by then this one has been read as far as it will be.
    await client(path).findIssued(newSerial());
    expect(started).toBe(256);
    gate.resolve();
    await Promise.all(calls);
    expect(started).toBe(4000);
  });

  it('answers what is under way before it closes', async () => {
    const { authority } = await openTestAuthority();
    const { path, server } = await listen(authority);
    const remote = client(path);
    await remote.describe();
    const order = deviceOrder();
    const asked = remote.issue(order);
    while ((await authority.findIssued(order.serial)) === undefined)
      await new Promise((resolve) => setImmediate(resolve));
    await server.close();
    expect(parseCertificate(await asked).serial).toBe(order.serial);
    expect(existsSync(path)).toBe(false);
  });
});

describe('authority client', () => {
  it('fails at once when nobody is there, and finds the authority when it is', async () => {
    const path = join(tempFolder(), 'a.sock');
    const remote = client(path);
    await expect(remote.describe()).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    const { authority } = await openTestAuthority();
    const { server } = await listen(authority, path);
    expect((await remote.describe()).trustDomain).toBe('gatehouse.internal');
    await server.close();
    await expect(remote.describe()).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    await listen(authority, path);
    expect((await remote.describe()).trustDomain).toBe('gatehouse.internal');
  });

  it('gives up on an authority that does not answer', async () => {
    const path = await peer((socket) => socket.resume());
    await expect(client(path, { timeout: 50 }).describe()).rejects.toThrow(/no answer in 50 ms/);
  });

  it.each([
    ['hangs up', (socket: Socket) => void socket.once('data', () => socket.destroy())],
    ['ends', (socket: Socket) => void socket.once('data', () => socket.end())],
    [
      'sends garbage',
      (socket: Socket) => void socket.once('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')),
    ],
    [
      'answers in another shape',
      (socket: Socket) => void socket.once('data', () => socket.write(Buffer.concat(formatFrame({ id: 1 })))),
    ],
  ])('fails every call that waits when the peer %s', async (_what, onConnection) => {
    const remote = client(await peer(onConnection));
    const outcomes = await Promise.allSettled([remote.describe(), remote.findIssued(newSerial())]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'AUTHORITY_UNAVAILABLE' } });
    }
  });

  it('gives a call up when it is told to', async () => {
    const remote = client(await peer((socket) => socket.resume()));
    const controller = new AbortController();
    const call = remote.describe(controller.signal);
    controller.abort();
    await expect(call).rejects.toBeInstanceOf(AuthorityError);
    await expect(remote.describe(AbortSignal.abort())).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
  });

  it('fails what waits when it is closed, and everything after', async () => {
    const remote = client(await peer((socket) => socket.resume()));
    const call = remote.describe();
    const expectation = expect(call).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    await remote.close();
    await expectation;
    await expect(remote.describe()).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
  });

  it('refuses an order too large for a frame without sending it', async () => {
    const { authority } = await openTestAuthority();
    const remote = client((await listen(authority)).path);
    const entries = Buffer.alloc(17 * 1024 * 1024);
    await expect(remote.signCrl({ number: 1, thisUpdate: NOW, nextUpdate: NOW + DAY, entries })).rejects.toMatchObject({
      code: 'ORDER_MALFORMED',
    });
    expect((await remote.describe()).lastCrlNumber).toBe(0);
  });
});

describe('frames', () => {
  it('come out as they went in, however the stream is cut', () => {
    const message = fc.record({ json: fc.jsonValue({ maxDepth: 2 }), attachment: fc.uint8Array({ maxLength: 300 }) });
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        (messages, cuts) => {
          const stream = Buffer.concat(messages.flatMap(({ json, attachment }) => formatFrame(json, attachment)));
          const reader = new FrameReader();
          const frames: Frame[] = [];
          for (let at = 0, i = 0; at < stream.length; i += 1) {
            const size = cuts[i % cuts.length] ?? 1;
            frames.push(...reader.read(stream.subarray(at, at + size)));
            at += size;
          }
          expect(frames.map(({ json }) => JSON.stringify(json))).toEqual(
            messages.map(({ json }) => JSON.stringify(json)),
          );
          expect(frames.map(({ attachment }) => [...attachment])).toEqual(
            messages.map(({ attachment }) => [...attachment]),
          );
        },
      ),
    );
  });

  it('too large are refused on the way out', () => {
    expect(() => formatFrame({}, Buffer.alloc(16 * 1024 * 1024))).toThrow(FrameError);
    expect(() => formatFrame('x'.repeat(70_000))).toThrow(FrameError);
  });
});

function methodsOf(authority: SucceededAuthority): SucceededAuthority {
  return {
    describe: () => authority.describe(),
    issue: (order) => authority.issue(order),
    findIssued: (serial) => authority.findIssued(serial),
    signCrl: (order) => authority.signCrl(order),
    activateIssuer: (keyId) => authority.activateIssuer(keyId),
    readIssued: (from) => authority.readIssued(from),
    lastList: (keyId) => authority.lastList(keyId),
    discardIssuer: (keyId) => authority.discardIssuer(keyId),
  };
}

async function* readFrames(socket: Socket): AsyncGenerator<Frame> {
  const reader = new FrameReader();
  for await (const chunk of socket) yield* reader.read(chunk as Buffer);
}

/** Takes connections and does with them what the test says. */
async function peer(onConnection: (socket: Socket) => void): Promise<string> {
  const path = join(tempFolder(), 'p.sock');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => void server.listen(path, resolve));
  chmodSync(path, 0o600);
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return path;
}

function refused(work: Promise<unknown>, code: string): Promise<void> {
  return expect(work).rejects.toMatchObject({ name: 'AuthorityError', code });
}
