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
  door = await TestDoor.open({ maxWriteBufferBytes: 128 * 1024 }, { authority });
  press = await door.device('press-1', { group: 'presses' });
});
afterEach(() => door.close());

const PINGREQ = Buffer.from('c000', 'hex');
const slowed = () => door.lines.filter(({ message }) => message.startsWith('a session sends more than its share'));

/** Type and remaining length of about 200 MB. */
const HUGE = { connect: Buffer.from('1080e1eb5f', 'hex'), publish: Buffer.from('3080e1eb5f', 'hex') };

describe('a packet of 200 MB', () => {
  test('announced as CONNECT is cut at its header, before anything of it comes', async () => {
    const client = await RawClient.open(door, press.credential);
    client.socket.write(HUGE.connect);
    await client.closed;
    await door.until(() => door.refused.length === 1);
    expect(door.refused[0]).toMatchObject({ code: 'PACKET_TOO_LARGE', address: '127.0.0.1' });
    expect(door.requests).toEqual([]);
  });

  test('announced as PUBLISH is cut at its header', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    client.socket.write(HUGE.publish);
    await client.closed;
    await door.until(() => door.closed.length === 1);
    expect(door.closed[0]?.reason).toBe('packet-too-large');
  });

  test('whose header comes a byte at a time is cut when the length is known', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    for (const byte of HUGE.publish) {
      client.socket.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.closed;
    await door.until(() => door.closed.length === 1);
    expect(door.closed[0]?.reason).toBe('packet-too-large');
  });
});

describe('the limit of 64 KiB', () => {
  const topic = 'v1/d/press-1/out/data/x';
  /** Topic length, topic, packet id. */
  const largest = 64 * 1024 - (2 + topic.length + 2);

  test('lets a packet of exactly that size through', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    expect(await client.publish(topic, 'x'.repeat(largest))).toBe('acked');
  });

  test('refuses one byte more, although it came whole', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    expect(await client.publish(topic, 'x'.repeat(largest + 1))).toBe('closed');
  });
});

describe('malformed MQTT', () => {
  test.each([
    ['a packet of type 0', '0000'],
    ['a length that never ends', '30ffffffffff'],
    ['SUBSCRIBE with wrong flags', '8005000100016100'],
    ['PUBLISH with QoS 3', '3605000161000161'],
    ['SUBSCRIBE without a filter', '82020001'],
    ['a second CONNECT', '101000044d51545404020000000461616161'],
    ['a topic that ends before its length', '3004ffff6162'],
  ])('%s ends the session and nothing else', async (_name, hex) => {
    const neighbour = await door.device('press-2');
    const other = await RawClient.connected(door, neighbour.credential, { clientId: 'press-2' });
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    await door.until(() => door.opened.length === 2);
    client.socket.write(Buffer.from(hex, 'hex'));
    await client.closed;
    await door.until(() => door.closed.length === 1);
    expect(door.closed[0]).toMatchObject({ deviceId: 'press-1', reason: 'protocol-error' });
    expect(await other.ping()).toBe('acked');
  });

  test.each([
    ['PINGREQ', 'c000'],
    ['PUBLISH', '30050001617878'],
    ['garbage', 'deadbeefdeadbeef'],
    ['CONNECT of another protocol', '100c00044d514d540402003c0000'],
  ])('%s before CONNECT ends the connection, and it is said', async (_name, hex) => {
    const client = await RawClient.open(door, press.credential);
    client.socket.write(Buffer.from(hex, 'hex'));
    await client.closed;
    await door.until(() => door.refused.length === 1);
    expect(door.refused[0]).toMatchObject({ code: 'MQTT_MALFORMED', address: '127.0.0.1' });
  });
});

describe('a reader that does not read', () => {
  test('is closed, while others get their messages without waiting for it', async () => {
    await door.close();
    // Nobody is closed for being slow to drain: whoever waited for that would wait for ever.
    door = await TestDoor.open({ maxWriteBufferBytes: 128 * 1024, drainTimeoutMs: 3_600_000 }, { authority });
    press = await door.device('press-1', { group: 'presses' });
    const slow = await door.device('slow', { readFrom: ['presses'] });
    const quick = await door.device('quick', { readFrom: ['presses'] });
    const frozen = await RawClient.connected(door, slow.credential, { clientId: 'slow' });
    await frozen.subscribe('v1/d/+/out/data/#');
    frozen.socket.pause();
    const reader = await RawClient.connected(door, quick.credential, { clientId: 'quick' });
    await reader.subscribe('v1/d/press-1/out/data/#');
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    const payload = 'x'.repeat(60_000);
    for (let i = 0; i < 400 && door.closed.length === 0; i += 1) {
      await client.publish('v1/d/press-1/out/data/x', payload);
      await reader.message();
    }
    await door.until(() => door.closed.length === 1);
    expect(door.closed[0]).toMatchObject({ deviceId: 'slow', reason: 'too-slow' });
    expect(await client.ping()).toBe('acked');
    frozen.destroy();
  });

  test('is closed by notices too', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    await client.subscribe('v1/d/press-1/in/notice');
    client.socket.pause();
    const token = 'x'.repeat(40_000);
    while (door.door.broker.sendNotice(press.deviceId, token)) await new Promise((resolve) => setImmediate(resolve));
    await door.until(() => door.closed.length === 1);
    expect(door.closed[0]?.reason).toBe('too-slow');
    client.destroy();
  });
});

test('a flood of reports that are not worked off ends the session', async () => {
  await door.close();
  door = await TestDoor.open({ maxPendingReports: 4 }, { authority });
  press = await door.device('press-1');
  const held = Promise.withResolvers<void>();
  door.receive = () => held.promise;
  const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
  for (let messageId = 1; messageId <= 10; messageId += 1) {
    client.send({
      cmd: 'publish',
      topic: 'v1/d/press-1/out/ack',
      payload: '{}',
      qos: 1,
      messageId,
      dup: false,
      retain: false,
    });
  }
  await client.closed;
  await door.until(() => door.closed.length === 1);
  expect(door.closed[0]?.reason).toBe('too-many-reports');
  expect(door.messages.length).toBe(4);
  held.resolve();
});

test('a client that stops pinging is closed after one and a half keepalives', async () => {
  const client = await RawClient.open(door, press.credential);
  await client.connect({ clientId: 'press-1', keepalive: 1 });
  await client.closed;
  await door.until(() => door.closed.length === 1);
  expect(door.closed[0]?.reason).toBe('keepalive-timeout');
});

describe('a session that sends more than its share', () => {
  beforeEach(async () => {
    await door.close();
    door = await TestDoor.open({ packetBurst: 20, packetsPerSecond: 100 }, { authority });
    press = await door.device('press-1', { group: 'presses' });
  });

  test('is read more slowly, loses nothing, and holds up nobody else', async () => {
    const other = await door.device('press-2', { group: 'presses' });
    const neighbour = await RawClient.connected(door, other.credential, { clientId: 'press-2' });
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    client.socket.write(Buffer.concat(Array.from({ length: 100 }, () => PINGREQ)));
    for (let i = 0; i < 100; i += 1) expect(await client.ping()).toBe('acked');
    const order: string[] = [];
    // 180 beyond the burst, at 100 a second: this one waits for more than a second.
    const late = client.publish('v1/d/press-1/out/data/x', 'late').then((outcome) => order.push(`flood ${outcome}`));
    await neighbour.ping().then((outcome) => order.push(`neighbour ${outcome}`));
    await late;
    expect(order).toEqual(['neighbour acked', 'flood acked']);
    expect(slowed()).toHaveLength(1);
    expect(slowed()[0]?.facts).toMatchObject({ deviceId: 'press-1', address: '127.0.0.1' });
  });

  test('may acknowledge more messages than it may send', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    const puback = Buffer.from('40020001', 'hex');
    client.socket.write(Buffer.concat(Array.from({ length: 300 }, () => puback)));
    expect(await client.ping()).toBe('acked');
    expect(slowed()).toEqual([]);
    client.socket.write(Buffer.concat(Array.from({ length: 300 }, () => puback)));
    await door.until(() => slowed().length === 1);
  });

  test('is told of nowhere when it keeps to it', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    for (let i = 0; i < 15; i += 1) expect(await client.ping()).toBe('acked');
    expect(slowed()).toEqual([]);
  });

  test('goes without a trace when it is gone while it is slowed', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    client.socket.write(Buffer.concat(Array.from({ length: 2000 }, () => PINGREQ)));
    await door.until(() => slowed().length === 1);
    client.socket.destroy();
    await expect.poll(() => door.door.counts().sockets).toBe(0);
    expect(door.door.broker.sessions()).toEqual([]);
  });

  test('works on in order after it was slowed with messages under way', async () => {
    const reader = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    for (let round = 0; round < 7; round += 1) {
      const sent = Array.from({ length: 9 }, (_, i) => reader.publish(`v1/d/press-1/out/data/${i}`, `${round}`));
      expect(new Set(await Promise.all(sent))).toEqual(new Set(['acked']));
    }
    expect(await reader.ping()).toBe('acked');
  });
});
