import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Authority, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { type Known, TestDoor } from '#test/fixtures/mqtt/test-door.ts';

let authority: Authority;
let door: TestDoor;
let press: Known;
let client: RawClient;

beforeAll(async () => {
  authority = await createAuthority();
});
beforeEach(async () => {
  door = await TestDoor.open({}, { authority });
  press = await door.device('press-1', { group: 'presses' });
  client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
});
afterEach(() => door.close());

const connected = async (name: string, options: Parameters<TestDoor['device']>[1] = {}) => {
  const known = await door.device(name, options);
  return RawClient.connected(door, known.credential, { clientId: name });
};

describe('publishing', () => {
  test.each([
    ['another device', 'v1/d/press-2/out/data/x'],
    ['its own in topics', 'v1/d/press-1/in/notice'],
    ['the fleet topics', 'v1/fleet/revocations'],
    ['$SYS', '$SYS/anything/new/clients'],
    ['a topic of no kind', 'hello'],
    ['a topic that only starts like its own', 'v1/d/press-1x/out/data/x'],
    ['an unknown report', 'v1/d/press-1/out/secrets'],
    ['a report with a level too many', 'v1/d/press-1/out/ack/more'],
  ])('on %s closes the connection and says so in the log', async (_name, topic) => {
    expect(await client.publish(topic, 'x')).toBe('closed');
    await door.until(() => door.closed.length === 1);
    expect(door.closed[0]).toMatchObject({ deviceId: 'press-1', reason: 'publish-refused' });
    expect(door.lines).toContainEqual({
      message: 'publish refused',
      facts: expect.objectContaining({ deviceId: 'press-1', serial: press.credential.serial, topic }),
    });
    expect(door.messages).toEqual([]);
  });

  test.each([0, 1, 2] as const)('with QoS %i on another device is refused', async (qos) => {
    expect(await client.publish('v1/d/press-2/out/data/x', 'x', { qos })).toBe('closed');
  });

  test.each(['ack', 'state'] as const)('on out/%s reaches the operation and nobody else', async (kind) => {
    const reader = await connected('reader', { readFrom: ['presses'] });
    expect(await reader.subscribe(`v1/d/press-1/out/${kind}`, 'v1/d/+/out/#', 'v1/d/press-1/out/data/#')).toEqual([
      128, 128, 1,
    ]);
    await client.publish(`v1/d/press-1/out/${kind}`, '{"a":1}');
    await door.until(() => door.messages.length === 1);
    const { payload, ...message } = door.messages[0] ?? { payload: Buffer.alloc(0) };
    expect(message).toEqual({ deviceId: 'press-1', serial: press.credential.serial, kind });
    expect(payload.toString()).toBe('{"a":1}');
    await reader.ping();
    expect(reader.messages()).toEqual([]);
  });

  test.each([0, 1, 2] as const)('telemetry with QoS %i reaches a reader of the group', async (qos) => {
    const reader = await connected('reader', { readFrom: ['presses'] });
    await reader.subscribe('v1/d/+/out/data/#');
    expect(await client.publish('v1/d/press-1/out/data/temperature', '21', { qos })).toBe('acked');
    const message = await reader.message('v1/d/press-1/out/data/temperature');
    expect(message.payload.toString()).toBe('21');
    expect(door.messages).toEqual([]);
  });

  test('telemetry does not reach a device that may not read this group', async () => {
    const other = await connected('other', { readFrom: ['lathes'] });
    const reader = await connected('reader', { readFrom: ['presses'] });
    await other.subscribe('v1/d/+/out/data/#');
    await reader.subscribe('v1/d/+/out/data/#');
    await client.publish('v1/d/press-1/out/data/x', '1');
    await reader.message();
    await other.ping();
    expect(other.messages()).toEqual([]);
  });

  test('telemetry is for keys in a TPM only where the group says so; reports are for all', async () => {
    const wish = { group: 'presses', publishProof: 'tpm' } as const;
    const strong = await connected('strong', { ...wish, proofLevel: 'tpm-endorsed' });
    const weak = await connected('weak', { ...wish, proofLevel: 'software' });
    expect(await strong.publish('v1/d/strong/out/data/x', '1', { qos: 1 })).toBe('acked');
    expect(await weak.publish('v1/d/weak/out/state', '{}', { qos: 1 })).toBe('acked');
    expect(await weak.publish('v1/d/weak/out/data/x', '1', { qos: 1 })).toBe('closed');
  });

  test('a retained message of a device is delivered, but not kept for those who come later', async () => {
    const early = await connected('early', { readFrom: ['presses'] });
    await early.subscribe('v1/d/press-1/out/data/#');
    await client.publish('v1/d/press-1/out/data/x', 'now', { retain: true });
    await early.message();
    const late = await connected('late', { readFrom: ['presses'] });
    await late.subscribe('v1/d/press-1/out/data/#');
    await late.ping();
    expect(late.messages()).toEqual([]);
  });

  test('a failing operation neither ends the session nor the process', async () => {
    door.receive = () => Promise.reject(new Error('no disk'));
    await client.publish('v1/d/press-1/out/state', '{}');
    await door.until(() => door.lines.some(({ message }) => message === 'device message failed'));
    door.receive = () => {
      throw new Error('a bug');
    };
    await client.publish('v1/d/press-1/out/state', '{}');
    await door.until(() => door.lines.filter(({ message }) => message === 'device message failed').length === 2);
    expect(await client.ping()).toBe('acked');
  });
});

describe('subscribing', () => {
  test.each([
    '#',
    '+/#',
    '$SYS/#',
    '$SYS/+/new/clients',
    '$share/g/v1/d/press-1/in/#',
    'v1/d/press-2/in/#',
    'v1/d/+/in/notice',
    'v1/d/+/+/notice',
    'v1/d/press-2/out/data/#',
    'v1/d/press-1/out/#',
    'v1/#',
  ])('to %s is answered with 0x80 and said in the log', async (filter) => {
    expect(await client.subscribe(filter)).toEqual([128]);
    expect(door.lines).toContainEqual({
      message: 'subscribe refused',
      facts: expect.objectContaining({ deviceId: 'press-1', filter }),
    });
    expect(await client.ping()).toBe('acked');
  });

  test('a mixed SUBSCRIBE grants what is allowed and nothing else', async () => {
    expect(await client.subscribe('v1/d/press-1/in/#', 'v1/d/press-2/in/#', '#', 'v1/fleet/+')).toEqual([
      1, 128, 128, 1,
    ]);
    const other = await connected('press-2');
    await other.subscribe('v1/d/press-2/in/#');
    door.door.broker.sendNotice((await door.device('press-2')).deviceId, 'for press-2');
    await other.message('v1/d/press-2/in/notice');
    await client.ping();
    expect(client.messages()).toEqual([]);
  });

  test('to more filters than allowed is refused from there on, until some are given up', async () => {
    await door.close();
    door = await TestDoor.open({ maxFilters: 3 }, { authority });
    const one = await connected('press-1');
    const filters = ['a', 'b', 'c', 'd'].map((name) => `v1/d/press-1/in/data/${name}`);
    expect(await one.subscribe(...filters)).toEqual([1, 1, 1, 128]);
    await one.unsubscribe('v1/d/press-1/in/data/a');
    expect(await one.subscribe('v1/d/press-1/in/data/d')).toEqual([1]);
  });

  test('asks for the pending notices once the notice topic is covered, and only then', async () => {
    await client.subscribe('v1/fleet/#', 'v1/d/press-1/in/data/#');
    await client.subscribe('v1/d/press-2/in/notice');
    await client.ping();
    expect(door.subscribed).toEqual([]);
    await client.subscribe('v1/d/press-1/in/notice');
    await door.until(() => door.subscribed.length === 1);
    expect(door.subscribed).toEqual(['press-1']);
  });

  test('a delivery that fails is logged and the session goes on', async () => {
    door.deliver = () => Promise.reject(new Error('no disk'));
    await client.subscribe('v1/d/press-1/in/#');
    await door.until(() => door.lines.some(({ message }) => message === 'notices not delivered'));
    door.deliver = () => Promise.resolve();
    await client.subscribe('v1/d/press-1/in/notice');
    await door.until(() => door.subscribed.length === 2);
    expect(await client.ping()).toBe('acked');
  });
});

describe('the will', () => {
  const will = { topic: 'v1/d/press-1/out/state', payload: '{"connected":false}', qos: 1 as const, retain: true };

  test('on its own state topic is told to the gateway when the connection breaks', async () => {
    await client.end();
    const fragile = await RawClient.connected(door, press.credential, { clientId: 'press-1', will });
    fragile.destroy();
    await door.until(() => door.messages.length === 1 && door.closed.length === 2);
    expect(door.messages[0]).toMatchObject({ deviceId: 'press-1', kind: 'state' });
    expect(door.closed.at(-1)?.reason).toBe('connection-lost');
  });

  test('is not told after DISCONNECT, nor when the device is already back', async () => {
    await client.end();
    const polite = await RawClient.connected(door, press.credential, { clientId: 'press-1', will });
    await polite.end();
    const first = await RawClient.connected(door, press.credential, { clientId: 'press-1', will });
    const second = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    await first.closed;
    await door.until(() => door.closed.some(({ reason }) => reason === 'taken-over'));
    await second.publish('v1/d/press-1/out/state', 'I am here');
    await door.until(() => door.messages.length > 0);
    expect(door.messages.map(({ payload }) => payload.toString())).toEqual(['I am here']);
  });
});

describe('fleet notices', () => {
  test('reach those who subscribed before and after, and no device can write them', async () => {
    await client.subscribe('v1/fleet/revocations');
    door.door.broker.publishFleet('v1/fleet/revocations', 'list 1');
    expect((await client.message('v1/fleet/revocations')).payload.toString()).toBe('list 1');
    const late = await connected('late');
    await late.subscribe('v1/fleet/#');
    const retained = await late.message('v1/fleet/revocations');
    expect(retained).toMatchObject({ retain: true, qos: 1 });
    door.door.broker.publishFleet('v1/fleet/revocations', 'list 2');
    expect((await late.message()).payload.toString()).toBe('list 2');
    expect(() => door.door.broker.publishFleet('v1/d/press-1/in/notice', 'x')).toThrow(RangeError);
  });
});
