import { once as nodeOnce } from 'node:events';
import mqtt, { type MqttClient } from 'mqtt';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Authority, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { type Known, TestDoor } from '#test/fixtures/mqtt/test-door.ts';

/** mqtt.js types its events more narrowly than node:events does. */
const once = (client: MqttClient, event: string) => nodeOnce(client as never, event);

let authority: Authority;
let door: TestDoor;
let press: Known;

beforeAll(async () => {
  authority = await createAuthority();
});
beforeEach(async () => {
  door = await TestDoor.open({}, { authority });
  press = await door.device('press-1');
});
afterEach(() => door.close());

describe('two connections of one device', () => {
  test('the newest session wins, the older one is closed and recorded', async () => {
    const older = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    await door.until(() => door.opened.length === 1);
    const newer = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    await older.closed;
    await door.until(() => door.closed.length === 1 && door.opened.length === 2);
    expect(door.closed[0]?.reason).toBe('taken-over');
    expect(await newer.ping()).toBe('acked');
    await newer.subscribe('v1/d/press-1/in/#');
    expect(door.door.broker.sendNotice(press.deviceId, 'x')).toBe(true);
    await newer.message();
  });

  test('a renewed certificate takes over from the older one', async () => {
    const older = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    const renewed = await door.device('press-1');
    const newer = await RawClient.connected(door, renewed.credential, { clientId: 'press-1' });
    await older.closed;
    expect(door.door.broker.sessionsOf(press.deviceId)).toMatchObject([{ serial: renewed.credential.serial }]);
    expect(await newer.ping()).toBe('acked');
  });

  test('a refused CONNECT takes nothing over', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    const intruder = await door.device('press-2');
    const second = await RawClient.open(door, intruder.credential);
    expect(await second.connect({ clientId: 'press-1' })).toBe(5);
    expect(await client.ping()).toBe('acked');
  });

  test('of several at the same moment exactly one is left, and the broker knows it', async () => {
    for (let round = 0; round < 15; round += 1) {
      const clients = await Promise.all([1, 2, 3].map(() => RawClient.open(door, press.credential)));
      const codes = await Promise.all(clients.map((client) => client.connect({ clientId: 'press-1' })));
      expect(codes).toContain(0);
      const answers = await Promise.all(clients.map((client) => client.ping()));
      const [session, ...more] = door.door.broker.sessionsOf(press.deviceId);
      expect(more).toEqual([]);
      expect(session).toBeDefined();
      // Those displaced may have had their answer before; what counts is that one lives on and the others close.
      const survivor = clients[answers.lastIndexOf('acked')];
      if (survivor === undefined) throw new Error('nobody survived');
      await Promise.all(clients.filter((client) => client !== survivor).map((client) => client.closed));
      await survivor.subscribe('v1/d/press-1/in/#');
      expect(door.door.broker.sendNotice(press.deviceId, `round ${round}`)).toBe(true);
      expect((await survivor.message()).payload.toString()).toBe(`round ${round}`);
      await survivor.end();
    }
    await expect.poll(() => door.door.counts().sockets).toBe(0);
  });

  test('one that dies during CONNECT does not take the live one with it', async () => {
    const live = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    const held = Promise.withResolvers<void>();
    door.admit = async (request) => {
      const grant = await door.judge(request);
      await held.promise;
      return grant;
    };
    const dying = await RawClient.open(door, press.credential);
    void dying.connect({ clientId: 'press-1' });
    await door.until(() => door.requests.length === 2);
    dying.destroy();
    await dying.closed;
    // The door has seen the close when its socket is off the count.
    await expect.poll(() => door.door.counts().sockets).toBe(1);
    held.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await live.ping()).toBe('acked');
    expect(door.door.broker.sessionsOf(press.deviceId)).toHaveLength(1);
  });

  test('thirty quick reconnects of mqtt.js leave one session that works', async () => {
    const { credential } = press;
    const client = mqtt.connect({
      protocol: 'mqtts',
      host: '127.0.0.1',
      servername: 'localhost',
      port: door.port,
      clientId: 'press-1',
      cert: credential.chain,
      key: credential.keyPem,
      ca: authority.root.pem,
      reconnectPeriod: 1,
    });
    await once(client, 'connect');
    for (let i = 0; i < 30; i += 1) {
      const again = once(client, 'connect');
      client.reconnect();
      await again;
    }
    await client.subscribeAsync('v1/d/press-1/in/#', { qos: 1 });
    const message = once(client, 'message');
    expect(door.door.broker.sessionsOf(press.deviceId)).toHaveLength(1);
    expect(door.door.broker.sendNotice(press.deviceId, 'still there')).toBe(true);
    expect(String((await message)[1])).toBe('still there');
    await client.endAsync();
  });
});

test('mqtt.js with MQTT 5 reports an unacceptable protocol version', async () => {
  const { credential } = press;
  const client = mqtt.connect({
    protocol: 'mqtts',
    host: '127.0.0.1',
    servername: 'localhost',
    port: door.port,
    clientId: 'press-1',
    protocolVersion: 5,
    cert: credential.chain,
    key: credential.keyPem,
    ca: authority.root.pem,
    reconnectPeriod: 0,
  });
  const [error] = (await once(client, 'error')) as [Error & { code: number }];
  expect(error.code).toBe(1);
  expect(error.message).toContain('Unacceptable protocol version');
  await client.endAsync(true);
});
