import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { assertKnownAedes, DeviceBroker } from '#gateway/mqtt/device-broker.ts';
import { type Authority, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { type Known, TestDoor } from '#test/fixtures/mqtt/test-door.ts';

/** What a bare aedes does wrong for us, each seen on 1.2.0: here it must not happen, whatever aedes does inside. */

let authority: Authority;
let door: TestDoor;
let press: Known;
let victim: Known;

beforeAll(async () => {
  authority = await createAuthority();
});
beforeEach(async () => {
  door = await TestDoor.open({}, { authority });
  press = await door.device('press-1', { group: 'presses' });
  victim = await door.device('press-2', { group: 'presses' });
});
afterEach(() => door.close());

describe('a denied filter of a mixed SUBSCRIBE with CleanSession 0', () => {
  test('does not come back at the next CONNECT, nor do messages of the time between', async () => {
    const first = await RawClient.connected(door, press.credential, { clientId: 'press-1', clean: false });
    expect(await first.subscribe('v1/d/press-1/in/#', 'v1/d/press-2/in/#', 'v1/d/+/out/data/#')).toEqual([1, 128, 128]);
    const other = await RawClient.connected(door, victim.credential, { clientId: 'press-2' });
    await other.subscribe('v1/d/press-2/in/#');
    const secret = async (text: string) => {
      expect(door.door.broker.sendNotice(victim.deviceId, text)).toBe(true);
      await other.message('v1/d/press-2/in/notice');
      await other.publish('v1/d/press-2/out/data/x', text);
    };
    await secret('while online');
    first.destroy();
    await door.until(() => door.closed.length === 1);
    await secret('while offline');
    const second = await RawClient.connected(door, press.credential, { clientId: 'press-1', clean: false });
    expect(second.packets[0]).toMatchObject({ cmd: 'connack', sessionPresent: false });
    await secret('after the return');
    await second.ping();
    expect([...first.messages(), ...second.messages()]).toEqual([]);
  });

  test('nothing is queued for a device that is away', async () => {
    const reader = await door.device('reader', { readFrom: ['presses'] });
    const away = await RawClient.connected(door, reader.credential, { clientId: 'reader', clean: false });
    await away.subscribe('v1/d/+/out/data/#');
    away.destroy();
    await door.until(() => door.closed.length === 1);
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    for (let i = 0; i < 50; i += 1) await client.publish('v1/d/press-1/out/data/x', `${i}`);
    const back = await RawClient.connected(door, reader.credential, { clientId: 'reader', clean: false });
    await back.ping();
    expect(back.messages()).toEqual([]);
  });
});

describe('$SYS', () => {
  test('cannot be used to end the session of another', async () => {
    const other = await RawClient.connected(door, victim.credential, { clientId: 'press-2' });
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    expect(await client.publish('$SYS/another-broker/new/clients', 'press-2')).toBe('closed');
    expect(await other.ping()).toBe('acked');
    expect(door.door.broker.sessionsOf(victim.deviceId)).toHaveLength(1);
  });

  test('carries nothing, not even inside the broker', async () => {
    const published: string[] = [];
    const broker = new DeviceBroker({}, () => false);
    await broker.listen();
    broker.subscribe(
      '$SYS/#',
      ({ topic }, done) => {
        published.push(topic);
        done();
      },
      () => {},
    );
    await new Promise((resolve) => setImmediate(resolve));
    broker.publish(
      { cmd: 'publish', topic: '$SYS/x/new/clients', payload: 'a', qos: 0, dup: false, retain: false },
      () => {},
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(published).toEqual([]);
    await new Promise<void>((resolve) => broker.close(() => resolve()));
  });
});

describe('the will of a session that the gateway ends', () => {
  test('is not published', async () => {
    const will = { topic: 'v1/d/press-1/out/state', payload: 'will', qos: 1 as const };
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1', will });
    await door.until(() => door.opened.length === 1);
    await door.door.broker.close(door.door.broker.sessions(), 'revoked');
    await client.closed;
    const other = await RawClient.connected(door, victim.credential, { clientId: 'press-2' });
    await other.publish('v1/d/press-2/out/state', 'x');
    await door.until(() => door.messages.length > 0);
    expect(door.messages.map(({ deviceId }) => deviceId)).toEqual(['press-2']);
  });
});

describe('an exception in a hook is a refusal and does not end the process', () => {
  test('when publishing', async () => {
    door.onWarning = () => {
      throw new Error('a bug');
    };
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    expect(await client.publish('v1/d/press-2/out/data/x', 'x')).toBe('closed');
    expect(door.lines).toContainEqual({
      message: 'broker hook failed',
      facts: expect.objectContaining({ hook: 'authorizePublish' }),
    });
    expect(await (await RawClient.open(door, victim.credential)).connect({ clientId: 'press-2' })).toBe(0);
  });

  test('when subscribing', async () => {
    door.onWarning = () => {
      throw new Error('a bug');
    };
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    expect(await client.subscribe('v1/d/press-2/in/#', 'v1/d/press-1/in/#')).toEqual([128, 1]);
  });

  test('when a session is let in: it ends, for half done is not done', async () => {
    door.onOpened = () => {
      throw new Error('a bug');
    };
    const client = await RawClient.open(door, press.credential);
    await client.connect({ clientId: 'press-1' });
    await client.closed;
    expect(door.lines.some(({ message }) => message === 'session admission failed')).toBe(true);
    await expect.poll(() => door.door.broker.sessions()).toEqual([]);
  });

  test('when the sweep asks', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    door.isAdmitted = () => {
      throw new Error('a bug');
    };
    await door.until(() => door.lines.some(({ message }) => message === 'mqtt sweep failed'));
    expect(await client.ping()).toBe('acked');
  });
});

test('a start with another aedes than the tested one is refused', async () => {
  const broker = new DeviceBroker({}, () => false);
  await broker.listen();
  expect(() => assertKnownAedes(broker)).not.toThrow();
  Object.defineProperty(broker, 'version', { value: '1.2.1' });
  expect(() => assertKnownAedes(broker)).toThrow('aedes 1.2.1 is not the 1.2.0 this gateway was tested with');
  await new Promise<void>((resolve) => broker.close(() => resolve()));
});

test('names of object members are names like any other', async () => {
  for (const name of ['constructor', 'valueOf']) {
    const odd = await door.device(name);
    const client = await RawClient.connected(door, odd.credential, { clientId: name });
    expect(await client.subscribe(`v1/d/${name}/in/#`)).toEqual([1]);
    expect(door.door.broker.sendNotice(parseDeviceId(name), 'x')).toBe(true);
    expect(door.door.broker.sessionsOf(parseDeviceId('toString'))).toEqual([]);
    await client.message();
    await client.end();
  }
});
