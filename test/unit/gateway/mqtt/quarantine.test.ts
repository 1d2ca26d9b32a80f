import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Authority, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { type Known, TestDoor } from '#test/fixtures/mqtt/test-door.ts';

let authority: Authority;
let door: TestDoor;
let press: Known;

beforeAll(async () => {
  authority = await createAuthority();
});
beforeEach(async () => {
  door = await TestDoor.open({}, { authority });
  press = await door.device('press-1', { group: 'presses', readFrom: ['presses'] });
});
afterEach(() => door.close());

const connect = () => RawClient.connected(door, press.credential, { clientId: 'press-1' });

async function neighbours() {
  const [other, monitor] = [
    await door.device('press-2', { group: 'presses' }),
    await door.device('monitor-1', { readFrom: ['presses'] }),
  ];
  const [writer, reader] = [
    await RawClient.connected(door, other.credential, { clientId: 'press-2' }),
    await RawClient.connected(door, monitor.credential, { clientId: 'monitor-1' }),
  ];
  await reader.subscribe('v1/d/+/out/data/#');
  return { writer, reader };
}

describe('a session in quarantine', () => {
  test('keeps what an identity needs, and its data stops both ways, without being cut', async () => {
    const client = await connect();
    await client.subscribe('v1/d/press-1/in/#', 'v1/d/+/out/data/#');
    const { writer, reader } = await neighbours();
    expect(door.door.broker.setQuarantined(press.deviceId, true)).toMatchObject([{ deviceId: 'press-1' }]);

    expect(await client.publish('v1/d/press-1/out/data/x', 'dropped')).toBe('acked');
    expect(await client.publish('v1/d/press-1/out/data/x', 'dropped', { qos: 2 })).toBe('acked');
    await writer.publish('v1/d/press-2/out/data/x', 'for readers');
    expect(await client.publish('v1/d/press-1/out/state', 'state')).toBe('acked');
    expect(await client.publish('v1/d/press-1/out/ack', 'ack')).toBe('acked');
    await door.until(() => door.messages.length === 2);
    expect(door.door.broker.sendNotice(press.deviceId, 'you are in quarantine')).toBe(true);
    await client.message('v1/d/press-1/in/notice');

    expect((await reader.message('v1/d/press-2/out/data/x')).payload.toString()).toBe('for readers');
    await reader.ping();
    await client.ping();
    expect(reader.messages().map(({ topic }) => topic)).toEqual(['v1/d/press-2/out/data/x']);
    expect(client.messages().map(({ topic }) => topic)).toEqual(['v1/d/press-1/in/notice']);
    expect(door.closed).toEqual([]);
  });

  test('is as before when that ends, with the subscriptions it had and those it made meanwhile', async () => {
    const client = await connect();
    const { writer, reader } = await neighbours();
    door.door.broker.setQuarantined(press.deviceId, true);
    expect(await client.subscribe('v1/d/press-1/in/#', 'v1/d/+/out/data/#')).toEqual([1, 1]);
    expect(door.door.broker.setQuarantined(press.deviceId, false)).toHaveLength(1);
    expect(door.door.broker.setQuarantined(press.deviceId, false)).toEqual([]);

    await client.publish('v1/d/press-1/out/data/x', 'again');
    await writer.publish('v1/d/press-2/out/data/x', 'for readers');
    expect((await reader.message('v1/d/press-1/out/data/x')).payload.toString()).toBe('again');
    await client.message('v1/d/press-2/out/data/x');
  });

  test('comes in with that, and says so before anything else can be published', async () => {
    door.quarantined.add(press.deviceId);
    const client = await connect();
    const { reader } = await neighbours();
    expect(await client.publish('v1/d/press-1/out/data/x', 'dropped')).toBe('acked');
    await client.ping();
    await reader.ping();
    expect(reader.messages()).toEqual([]);
  });

  test('may still not publish for others', async () => {
    door.quarantined.add(press.deviceId);
    const client = await connect();
    expect(await client.publish('v1/d/press-2/out/data/x', 'x')).toBe('closed');
  });
});

test('a take-over tells whose place was taken, and since when that one was there', async () => {
  await connect();
  await connect();
  await door.until(() => door.opened.length === 2);
  const [first, second] = door.opened;
  expect(first?.displaced).toBeUndefined();
  expect(second?.displaced).toMatchObject({ address: '127.0.0.1', since: first?.since });
});

test('a report comes with the session it came over', async () => {
  const client = await connect();
  await client.publish('v1/d/press-1/out/state', '{}');
  await door.until(() => door.messages.length === 1);
  expect(door.reporters).toMatchObject([{ deviceId: 'press-1', address: '127.0.0.1', since: door.opened[0]?.since }]);
});
