import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { generate } from 'mqtt-packet';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_MQTT_LIMITS } from '#gateway/mqtt/mqtt-limits.ts';
import { agreeOn, NULL_AND_ANONYMOUS, renegotiate } from '#test/fixtures/doors/weak-tls.ts';
import { type Authority, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { TestDoor } from '#test/fixtures/mqtt/test-door.ts';

let authority: Authority;
let door: TestDoor;

beforeAll(async () => {
  authority = await createAuthority();
});
afterEach(() => door.close());

async function openTcp(): Promise<Socket & { gone: Promise<void> }> {
  const socket = connectTcp({ host: '127.0.0.1', port: door.port });
  socket.on('error', () => {});
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.resume();
  await once(socket, 'connect');
  return Object.assign(socket, { gone });
}

/** What a TLS client says first, as bytes. */
async function clientHello(): Promise<Buffer> {
  const { Duplex } = await import('node:stream');
  return new Promise((resolve) => {
    const pipe = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(chunk);
        done();
      },
    });
    connectTls({ socket: pipe, servername: 'localhost' }).on('error', () => {});
  });
}

describe('what is not MQTT over TLS is closed, with its reason and address in the records', () => {
  test.each([
    ['plain MQTT', Buffer.from('101000044d51545404020000000461616161', 'hex')],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['zeros', Buffer.alloc(512)],
    ['text', Buffer.from('hello, is anybody there?\n'.repeat(20))],
    ['a TLS record of garbage', Buffer.concat([Buffer.from('160301010001000000', 'hex'), Buffer.alloc(300, 0xaa)])],
  ])('%s', async (_name, bytes) => {
    door = await TestDoor.open({}, { authority });
    const socket = await openTcp();
    socket.write(bytes);
    await socket.gone;
    await door.until(() => door.refused.length === 1);
    expect(door.refused[0]).toMatchObject({
      code: expect.stringMatching(/^TLS_(NOT_TLS|FAILED)$/),
      address: '127.0.0.1',
    });
    await expect.poll(() => door.door.counts().sockets).toBe(0);
  });
});

describe('a handshake that is not finished in time is closed', () => {
  test('when nothing comes', async () => {
    door = await TestDoor.open({ handshakeTimeoutMs: 100 }, { authority });
    const socket = await openTcp();
    await socket.gone;
    expect(door.refused).toMatchObject([{ code: 'TLS_HANDSHAKE_TIMEOUT', address: '127.0.0.1' }]);
    await expect.poll(() => door.door.counts()).toEqual({ sockets: 0, waiting: 0, handshakes: 0 });
  });

  test('when half of it comes', async () => {
    door = await TestDoor.open({ handshakeTimeoutMs: 100 }, { authority });
    const socket = await openTcp();
    socket.write((await clientHello()).subarray(0, 60));
    await socket.gone;
    expect(door.refused).toMatchObject([{ code: 'TLS_HANDSHAKE_TIMEOUT' }]);
  });

  test('when it stops after the server has answered', async () => {
    door = await TestDoor.open({ handshakeTimeoutMs: 100 }, { authority });
    const socket = await openTcp();
    socket.write(await clientHello());
    await socket.gone;
    expect(door.refused).toMatchObject([{ code: 'TLS_HANDSHAKE_TIMEOUT' }]);
  });

  test('when it comes a byte at a time', async () => {
    door = await TestDoor.open({ handshakeTimeoutMs: 200 }, { authority });
    const socket = await openTcp();
    const hello = await clientHello();
    let sent = 0;
    const drip = setInterval(() => {
      if (sent < hello.length) socket.write(hello.subarray(sent, sent + 1));
      sent += 1;
    }, 10);
    await socket.gone;
    clearInterval(drip);
    expect(sent).toBeLessThan(hello.length);
    expect(door.refused).toMatchObject([{ code: 'TLS_HANDSHAKE_TIMEOUT' }]);
  });

  test('after the five seconds that the gateway really gives it, and not before', async () => {
    door = await TestDoor.open({}, { authority });
    const started = performance.now();
    await (await openTcp()).gone;
    expect(performance.now() - started).toBeGreaterThan(4_900);
    expect(DEFAULT_MQTT_LIMITS.handshakeTimeoutMs).toBe(5_000);
    await door.until(() => door.refused.length === 1);
    expect(door.refused).toMatchObject([{ code: 'TLS_HANDSHAKE_TIMEOUT' }]);
  });
});

test('TLS without a CONNECT is closed in time, and said', async () => {
  door = await TestDoor.open({ connectTimeoutMs: 100 }, { authority });
  const { credential } = await door.device('press-1');
  const client = await RawClient.open(door, credential);
  await client.closed;
  await door.until(() => door.refused.length === 1);
  expect(door.refused[0]).toMatchObject({ code: 'CONNECT_TIMEOUT', address: '127.0.0.1' });
});

describe('the admission gate', () => {
  test('lets handshakes wait that it cannot serve at once, and serves them all', async () => {
    door = await TestDoor.open({ maxHandshakes: 2, maxHandshakesPerAddress: 2 }, { authority });
    const devices = await Promise.all(Array.from({ length: 12 }, (_, i) => door.device(`d-${i}`)));
    const clients = await Promise.all(
      devices.map(({ deviceId, credential }) => RawClient.connected(door, credential, { clientId: deviceId })),
    );
    expect(door.door.broker.sessions()).toHaveLength(12);
    await expect.poll(() => door.door.counts()).toEqual({ sockets: 12, waiting: 0, handshakes: 0 });
    await Promise.all(clients.map((client) => client.end()));
  });

  test('goes on when half-open handshakes have taken every place', async () => {
    door = await TestDoor.open(
      { maxHandshakes: 2, maxHandshakesPerAddress: 2, handshakeTimeoutMs: 2_000 },
      { authority },
    );
    const { credential } = await door.device('press-1');
    const stalled = await Promise.all([openTcp(), openTcp(), openTcp()]);
    const client = await RawClient.connected(door, credential, { clientId: 'press-1' });
    expect(await client.ping()).toBe('acked');
    await Promise.all(stalled.map(({ gone }) => gone));
    await expect.poll(() => door.door.counts()).toEqual({ sockets: 1, waiting: 0, handshakes: 0 });
  });

  test.each([
    ['say nothing', () => Buffer.alloc(0), 'closed'],
    ['say one byte', (hello: Buffer) => hello.subarray(0, 1), 'closed'],
    ['say half of what they have to', (hello: Buffer) => hello.subarray(0, 60), 'closed'],
    ['say nothing more when they are answered', (hello: Buffer) => hello, 'kept'],
  ])('does not wait long for sockets that hold every place and %s', async (_, part, outcome) => {
    // If each held its place for as long as a handshake may take, there would never be one.
    const limits = {
      handshakeTimeoutMs: 3_600_000,
      maxWaitMs: 3_600_000,
      silentHandshakeMs: 100,
      maxLateHandshakes: 3,
    };
    door = await TestDoor.open({ maxHandshakes: 4, maxHandshakesPerAddress: 4, ...limits }, { authority });
    const { credential } = await door.device('press-1');
    const said = part(await clientHello());
    const stalled = await Promise.all(Array.from({ length: 40 }, () => openTcp()));
    for (const socket of stalled) socket.write(said);
    const client = await RawClient.connected(door, credential, { clientId: 'press-1' });
    expect(await client.ping()).toBe('acked');
    // The last of them hold their places: nobody waits for those.
    await expect.poll(() => door.door.counts().waiting).toBe(0);
    if (outcome === 'kept') expect(door.door.counts().sockets).toBe(41);
    else await expect.poll(() => door.door.counts().sockets).toBeLessThanOrEqual(8);
    for (const socket of stalled) socket.destroy();
    await expect.poll(() => door.door.counts()).toEqual({ sockets: 1, waiting: 0, handshakes: 0 });
    expect(await client.ping()).toBe('acked');
  });

  test('serves whoever speaks late without a place', async () => {
    const limits = { silentHandshakeMs: 50, maxLateHandshakes: 1, maxHandshakes: 1, maxHandshakesPerAddress: 1 };
    door = await TestDoor.open(limits, { authority });
    const { deviceId, credential } = await door.device('press-1');
    const late = connectTcp({ host: '127.0.0.1', port: door.port });
    await once(late, 'connect');
    const other = await openTcp();
    await expect.poll(() => door.door.counts().sockets).toBe(2);
    // Its place is free again: this one is served although the first has not said a word.
    await expect.poll(() => door.door.counts().waiting).toBe(0);
    other.destroy();
    const socket = connectTls({
      socket: late,
      servername: 'localhost',
      ca: authority.root.pem,
      cert: credential.chain,
      key: credential.keyPem,
    });
    await once(socket, 'secureConnect');
    const connect = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 60 } as const;
    socket.write(generate({ ...connect, clientId: deviceId }));
    const [connack] = (await once(socket, 'data')) as [Buffer];
    expect(connack.toString('hex')).toBe('20020000');
    socket.destroy();
  });

  test('slows an address that only fails, and one that is admitted not at all', async () => {
    door = await TestDoor.open({ addressBurst: 5, addressPerSecond: 0, maxWaitMs: 200 }, { authority });
    const { credential } = await door.device('press-1');
    for (let i = 0; i < 12; i += 1) {
      const client = await RawClient.connected(door, credential, { clientId: 'press-1' });
      await client.end();
    }
    for (let i = 0; i < 5; i += 1) await (await RawClient.open(door, undefined)).closed;
    expect(door.refused).toHaveLength(5);
    await (await RawClient.open(door, undefined)).closed;
    await door.until(() => door.lines.some(({ message }) => message === 'connections dropped before TLS'));
    expect(door.refused).toHaveLength(5);
    await expect.poll(() => door.door.counts().sockets).toBe(0);
  });

  test('closes what is beyond the number of connections', async () => {
    door = await TestDoor.open({ maxConnections: 2 }, { authority });
    const kept = [await openTcp(), await openTcp()];
    await (await openTcp()).gone;
    await expect.poll(() => door.door.counts().sockets).toBe(2);
    for (const socket of kept) socket.destroy();
    await Promise.all(kept.map(({ gone }) => gone));
  });
});

describe('the TLS session', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('is never resumed (%s)', async (version) => {
    door = await TestDoor.open({}, { authority });
    const { credential } = await door.device('press-1');
    const only = { minVersion: version, maxVersion: version };
    const first = await RawClient.open(door, credential, only);
    const sessions: Buffer[] = [];
    first.socket.on('session', (session: Buffer) => sessions.push(session));
    await first.connect({ clientId: 'press-1' });
    await first.ping();
    const session = sessions.at(-1) ?? first.socket.getSession();
    await first.end();
    const second = await RawClient.open(door, credential, { ...only, ...(session === undefined ? {} : { session }) });
    expect(await second.connect({ clientId: 'press-1' })).toBe(0);
    expect(second.socket.isSessionReused()).toBe(false);
    second.destroy();
  });

  test.each(NULL_AND_ANONYMOUS)('has no suite of %s', async (suites) => {
    door = await TestDoor.open({}, { authority });
    const { credential } = await door.device('press-1');
    const { port } = door;
    const at = { host: '127.0.0.1', port, ca: authority.root.pem, cert: credential.chain, key: credential.keyPem };
    expect(await agreeOn(suites, at)).toMatchObject({ refused: expect.stringMatching(/handshake failure|no cipher/i) });
    expect(await agreeOn('ECDHE-ECDSA-AES128-GCM-SHA256', at)).toHaveProperty('suite');
  });

  test('has one handshake: whose it is does not change', async () => {
    door = await TestDoor.open({}, { authority });
    const { credential } = await door.device('press-1');
    const client = await RawClient.open(door, credential, { maxVersion: 'TLSv1.2' });
    expect(await client.connect({ clientId: 'press-1' })).toBe(0);
    expect(String(await renegotiate(client.socket))).toMatch(/no.renegotiation|closed/i);
    client.destroy();
  });

  test('shows the new gateway certificate after a reload, and live sessions stay', async () => {
    door = await TestDoor.open({}, { authority });
    const { credential } = await door.device('press-1');
    const before = await RawClient.connected(door, credential, { clientId: 'press-1' });
    const shown = before.socket.getPeerX509Certificate()?.serialNumber.toLowerCase();
    const renewed = await authority.server();
    door.door.reload({
      certificateChain: renewed.chain,
      privateKey: renewed.keyPem,
      issuers: [authority.intermediate.pem],
      manufacturers: [],
    });
    expect(await before.ping()).toBe('acked');
    const other = await door.device('press-2');
    const after = await RawClient.connected(door, other.credential, { clientId: 'press-2' });
    expect(after.socket.getPeerX509Certificate()?.serialNumber.toLowerCase()).toBe(renewed.serial);
    expect(shown).not.toBe(renewed.serial);
    // A reload does not forget to ask for certificates, nor the old versions that are off.
    const nobody = await RawClient.open(door, undefined);
    await nobody.closed;
    await door.until(() => door.refused.length === 1);
    expect(door.refused[0]).toMatchObject({ code: 'TLS_NO_CERTIFICATE' });
    expect(() => {
      door.door.reload({
        certificateChain: renewed.chain,
        privateKey: credential.keyPem,
        issuers: [],
        manufacturers: [],
      });
    }).toThrow();
    expect(await after.ping()).toBe('acked');
  });
});

test('closing the door closes every socket in every state', async () => {
  door = await TestDoor.open({ maxHandshakes: 2 }, { authority });
  const { credential } = await door.device('press-1');
  const live = await RawClient.connected(door, credential, { clientId: 'press-1' });
  const silent = await RawClient.open(door, credential);
  const raw = await Promise.all([openTcp(), openTcp(), openTcp()]);
  await door.close();
  await Promise.all([live.closed, silent.closed, ...raw.map(({ gone }) => gone)]);
  expect(door.closed).toMatchObject([{ deviceId: 'press-1', reason: 'gateway-stopped' }]);
  expect(door.door.counts()).toEqual({ sockets: 0, waiting: 0, handshakes: 0 });
  await expect(openTcp()).rejects.toThrow('ECONNREFUSED');
});
