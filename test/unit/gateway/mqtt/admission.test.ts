import mqttPacket from 'mqtt-packet';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { type Authority, createAuthority, selfSigned } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { type Known, TestDoor } from '#test/fixtures/mqtt/test-door.ts';

let authority: Authority;
let door: TestDoor;
let device: Known;

beforeAll(async () => {
  authority = await createAuthority();
});
beforeEach(async () => {
  door = await TestDoor.open({}, { authority });
  device = await door.device('press-1');
});
afterEach(() => door.close());

describe('a device with its own certificate', () => {
  test('is let in, recorded, and found by device', async () => {
    const client = await RawClient.open(door, device.credential);
    expect(await client.connect({ clientId: 'press-1' })).toBe(0);
    await door.until(() => door.opened.length === 1);
    expect(door.opened[0]).toMatchObject({
      deviceId: 'press-1',
      serial: device.credential.serial,
      address: '127.0.0.1',
    });
    expect(door.requests[0]).toMatchObject({ clientId: 'press-1', keepalive: 60, address: '127.0.0.1' });
    expect(door.requests[0]?.der.equals(device.credential.der)).toBe(true);
    expect(door.door.broker.sessionsOf(device.deviceId)).toHaveLength(1);
    await client.end();
    await door.until(() => door.closed.length === 1);
    expect(door.closed[0]).toMatchObject({ deviceId: 'press-1', reason: 'disconnected' });
    expect(door.door.broker.sessions()).toEqual([]);
  });

  test('is told that no session was kept, even when it asks for one to be', async () => {
    const client = await RawClient.open(door, device.credential);
    await client.connect({ clientId: 'press-1', clean: false });
    expect(client.packets[0]).toMatchObject({ cmd: 'connack', returnCode: 0, sessionPresent: false });
    client.destroy();
  });

  test('may leave its client id empty and is still known by its name', async () => {
    const client = await RawClient.connected(door, device.credential, { clientId: '' });
    await door.until(() => door.opened.length === 1);
    expect(door.opened[0]?.deviceId).toBe('press-1');
    expect(await client.publish('v1/d/press-1/out/data/x', '1')).toBe('acked');
    client.destroy();
  });

  test('gets identifier rejected for an empty client id with a session to keep (MQTT 3.1.1 3.1.3-8)', async () => {
    const client = await RawClient.open(door, device.credential);
    expect(await client.connect({ clientId: '', clean: false })).toBe(2);
    expect(door.refused[0]?.code).toBe('CLIENT_ID_REQUIRED');
  });

  test('may speak MQTT 3.1 with an id longer than 23 characters', async () => {
    const long = await door.device('a-device-with-a-long-name-of-its-own');
    const client = await RawClient.open(door, long.credential);
    expect(await client.connect({ clientId: long.deviceId, protocolVersion: 3 })).toBe(0);
    client.destroy();
  });

  test.each(['constructor', 'toString', 'hasOwnProperty'])('may be called %s', async (name) => {
    const odd = await door.device(name);
    const client = await RawClient.connected(door, odd.credential, { clientId: name });
    expect(await client.publish(`v1/d/${name}/out/state`, '{}')).toBe('acked');
    await door.until(() => door.messages.length === 1);
    expect(door.messages[0]?.deviceId).toBe(name);
    client.destroy();
  });
});

describe('CONNECT is refused with CONNACK 5 and a reason in the records', () => {
  const cases = [
    ['another client id', { clientId: 'press-2' }, 'CLIENT_ID_MISMATCH'],
    ['the client id __proto__', { clientId: '__proto__' }, 'CLIENT_ID_MISMATCH'],
    ['the client id constructor', { clientId: 'constructor' }, 'CLIENT_ID_MISMATCH'],
    ['no keepalive', { clientId: 'press-1', keepalive: 0 }, 'KEEPALIVE_REQUIRED'],
    ['a keepalive of two hours', { clientId: 'press-1', keepalive: 7200 }, 'KEEPALIVE_REQUIRED'],
    [
      'a will on another topic',
      { clientId: 'press-1', will: { topic: 'v1/d/press-2/out/state', payload: 'x' } },
      'WILL_NOT_ALLOWED',
    ],
    ['a will on a wildcard', { clientId: 'press-1', will: { topic: 'v1/d/#', payload: 'x' } }, 'WILL_NOT_ALLOWED'],
  ] as const;
  test.each(cases)('for %s', async (_name, connect, code) => {
    const client = await RawClient.open(door, device.credential);
    expect(await client.connect(connect)).toBe(5);
    await client.closed;
    expect(door.refused).toHaveLength(1);
    expect(door.refused[0]).toMatchObject({ code, deviceId: 'press-1', address: '127.0.0.1' });
    expect(door.opened).toEqual([]);
    expect(door.door.broker.sessions()).toEqual([]);
  });

  test('for a revoked certificate', async () => {
    door.revoke(device);
    const client = await RawClient.open(door, device.credential);
    expect(await client.connect({ clientId: 'press-1' })).toBe(5);
    expect(door.refused[0]).toMatchObject({ code: 'CERTIFICATE_REVOKED', deviceId: 'press-1' });
  });

  test('for a certificate of ours that is not in the table', async () => {
    const stranger = await authority.issue('press-1');
    const client = await RawClient.open(door, stranger);
    expect(await client.connect({ clientId: 'press-1' })).toBe(5);
    expect(door.refused[0]).toMatchObject({ code: 'CERTIFICATE_UNKNOWN' });
  });

  test('and a certificate that keeps coming is cut right after TLS, without costing a look-up', async () => {
    await door.close();
    door = await TestDoor.open({ maxRefusals: 3 }, { authority });
    device = await door.device('press-1');
    door.revoke(device);
    const codes: (number | 'closed')[] = [];
    for (let i = 0; i < 5; i += 1) {
      const client = await RawClient.open(door, device.credential);
      codes.push(await client.connect({ clientId: 'press-1' }));
      await client.closed;
    }
    expect(codes).toEqual([5, 5, 5, 'closed', 'closed']);
    expect(door.requests).toHaveLength(3);
    // Nor a line each.
    expect(door.lines.filter(({ message }) => message === 'connection of a refused certificate cut')).toHaveLength(1);
    // A neighbour is not hurt by it.
    const other = await door.device('press-2');
    expect(await (await RawClient.open(door, other.credential)).connect({ clientId: 'press-2' })).toBe(0);
  });
});

describe('our own trouble is CONNACK 3, so that a device does not think it is refused for good', () => {
  test('when the operation fails in an unknown way', async () => {
    door.admit = () => Promise.reject(new Error('the database is gone'));
    const client = await RawClient.open(door, device.credential);
    expect(await client.connect({ clientId: 'press-1' })).toBe(3);
    expect(door.refused[0]).toMatchObject({ code: 'INTERNAL' });
    expect(JSON.stringify(door.refused)).not.toContain('database');
    expect(door.lines.some(({ message }) => message === 'session admission failed')).toBe(true);
  });

  test('when the gateway is overloaded', async () => {
    door.admit = () => Promise.reject(new GatewayError('OVERLOADED', 'too much to do'));
    const client = await RawClient.open(door, device.credential);
    expect(await client.connect({ clientId: 'press-1' })).toBe(3);
  });

  test('when the operation throws before it returns a promise', async () => {
    door.admit = () => {
      throw new TypeError('a bug');
    };
    const client = await RawClient.open(door, device.credential);
    expect(await client.connect({ clientId: 'press-1' })).toBe(3);
    door.admit = (request) => door.judge(request);
    expect(await (await RawClient.open(door, device.credential)).connect({ clientId: 'press-1' })).toBe(0);
  });
});

describe('protocol versions', () => {
  test('MQTT 5 is refused with CONNACK 1 in the 3.1.1 form, and said in the records', async () => {
    const client = await RawClient.open(door, device.credential);
    const bytes = await new Promise<Buffer>((resolve) => {
      client.socket.once('data', resolve);
      void client.connect({ clientId: 'press-1', protocolVersion: 5 });
    });
    expect(bytes.toString('hex')).toBe('20020001');
    await client.closed;
    expect(door.refused[0]).toMatchObject({ code: 'MQTT_VERSION_NOT_SUPPORTED', address: '127.0.0.1' });
    expect(door.refused[0]?.detail).toContain('MQTT 3.1.1');
    expect(door.requests).toEqual([]);
  });

  test('a bridge is refused with CONNACK 1', async () => {
    const client = await RawClient.open(door, device.credential);
    expect(await client.connect({ clientId: 'press-1', bridgeMode: true })).toBe(1);
    await client.closed;
    expect(door.refused[0]).toMatchObject({ code: 'MQTT_VERSION_NOT_SUPPORTED' });
    expect(door.requests).toEqual([]);
  });
});

describe('TLS ends the connection, with its reason in the records, for', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('no certificate (%s)', async (version) => {
    expect(await refusedBy(undefined, { minVersion: version, maxVersion: version })).toMatchObject({
      code: 'TLS_NO_CERTIFICATE',
      address: '127.0.0.1',
    });
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)('a foreign certificate (%s)', async (version) => {
    const foreign = await (await createAuthority('Foreign')).issue('press-1');
    expect(await refusedBy(foreign, { minVersion: version, maxVersion: version })).toMatchObject({
      code: 'TLS_FOREIGN_CERTIFICATE',
      address: '127.0.0.1',
    });
  });

  test('a self-signed certificate with a copied serial', async () => {
    expect(await refusedBy(await selfSigned('press-1', device.credential.serial))).toMatchObject({
      code: 'TLS_FOREIGN_CERTIFICATE',
    });
  });

  test('a certificate of a foreign CA that has our CA names', async () => {
    const twin = await (await createAuthority('Test')).issue('press-1', { serial: device.credential.serial });
    expect(await refusedBy(twin)).toMatchObject({ code: expect.stringMatching(/FOREIGN|INVALID/) });
  });

  // One of ours is let through by TLS, to be judged at CONNECT: see expired-certificates.test.ts.
  test('a foreign certificate that has expired', async () => {
    const expired = await (await createAuthority('Foreign')).issue('press-1', { notAfter: Date.now() - 60_000 });
    expect(await refusedBy(expired)).toMatchObject({ code: 'TLS_CERTIFICATE_EXPIRED' });
  });

  test('a certificate that is not valid yet', async () => {
    const early = await authority.issue('press-1', { notBefore: Date.now() + 600_000 });
    expect(await refusedBy(early)).toMatchObject({ code: 'TLS_CERTIFICATE_NOT_YET_VALID' });
  });

  test('a server certificate', async () => {
    const server = await authority.issue('press-1', { usage: 'server' });
    expect(await refusedBy(server)).toMatchObject({ code: 'TLS_CERTIFICATE_WRONG_PURPOSE' });
  });

  test('another application protocol', async () => {
    expect(await refusedBy(device.credential, { ALPNProtocols: ['http/1.1'] })).toMatchObject({
      code: 'TLS_WRONG_PROTOCOL',
    });
  });

  test('TLS 1.1', async () => {
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    expect(await refusedBy(device.credential, old)).toMatchObject({ code: 'TLS_NO_COMMON_VERSION' });
  });
});

test('a certificate sent without its intermediate is enough', async () => {
  const { credential } = device;
  const client = await RawClient.open(door, { ...credential, chain: credential.pem });
  expect(await client.connect({ clientId: 'press-1' })).toBe(0);
  client.destroy();
});

test('TLS 1.2 with ALPN mqtt is let in', async () => {
  const client = await RawClient.open(door, device.credential, { maxVersion: 'TLSv1.2', ALPNProtocols: ['mqtt'] });
  expect(client.socket.alpnProtocol).toBe('mqtt');
  expect(await client.connect({ clientId: 'press-1' })).toBe(0);
  client.destroy();
});

async function refusedBy(credential: Parameters<typeof RawClient.open>[1], options = {}) {
  const client = await RawClient.open(door, credential, options);
  await client.closed;
  await door.until(() => door.refused.length > 0);
  expect(door.requests).toEqual([]);
  expect(door.refused).toHaveLength(1);
  return door.refused[0];
}

describe('a client that talks on before it has its CONNACK', () => {
  const connect = mqttPacket.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 60,
    clientId: 'press-1',
  });
  const subscribe = mqttPacket.generate({
    cmd: 'subscribe',
    messageId: 7,
    subscriptions: [{ topic: 'v1/d/press-1/in/#', qos: 1 }],
  });
  test('has what it said done after it, in order', async () => {
    const client = await RawClient.open(door, device.credential);
    client.socket.write(Buffer.concat([connect, subscribe, report(8), report(9)]));
    await client.take(({ cmd, messageId }) => cmd === 'suback' && messageId === 7);
    await client.take(({ cmd, messageId }) => cmd === 'puback' && messageId === 9);
    const answers = client.packets.map(({ cmd }) => cmd);
    expect(answers[0]).toBe('connack');
    expect(answers.toSorted()).toEqual(['connack', 'puback', 'puback', 'suback']);
    await door.until(() => door.messages.length === 2);
    expect(door.messages.map(({ payload }) => payload.toString())).toEqual(['8', '9']);
    expect(await client.ping()).toBe('acked');
  });

  test('has nothing done when it is refused, and is told so', async () => {
    door.revoke(device);
    const client = await RawClient.open(door, device.credential);
    client.socket.write(Buffer.concat([connect, subscribe, report(8)]));
    await client.closed;
    expect(client.packets).toMatchObject([{ cmd: 'connack', returnCode: 5 }]);
    expect(door.messages).toEqual([]);
  });

  test('is closed when it talks too much', async () => {
    door.admit = () => new Promise(() => {});
    const client = await RawClient.open(door, device.credential);
    client.socket.write(Buffer.concat([connect, ...Array.from({ length: 20 }, (_, i) => report(i + 1))]));
    await client.closed;
    expect(client.packets).toEqual([]);
    await door.until(() => door.refused.length === 1);
    expect(door.refused[0]).toMatchObject({ code: 'MQTT_MALFORMED' });
  });
});

function report(messageId: number): Buffer {
  return mqttPacket.generate({
    cmd: 'publish',
    topic: 'v1/d/press-1/out/state',
    payload: `${messageId}`,
    qos: 1,
    messageId,
    dup: false,
    retain: false,
  });
}
