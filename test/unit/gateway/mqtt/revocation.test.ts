import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { type Authority, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { type Known, TestDoor } from '#test/fixtures/mqtt/test-door.ts';

let authority: Authority;
let door: TestDoor;
let press: Known;
let serial: SerialNumber;

beforeAll(async () => {
  authority = await createAuthority();
});
beforeEach(async () => {
  door = await TestDoor.open({}, { authority });
  press = await door.device('press-1', { group: 'presses', readFrom: ['presses'] });
  serial = press.credential.serial as SerialNumber;
});
afterEach(() => door.close());

const will = { topic: 'v1/d/press-1/out/state', payload: 'will', qos: 1 as const };

describe('a session marked as revoked', () => {
  test('still gets its notice and may acknowledge it; nothing else goes in or out; its will is dropped', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1', will });
    await client.subscribe('v1/d/press-1/in/#', 'v1/fleet/#', 'v1/d/+/out/data/#');
    const other = await door.device('press-2', { group: 'presses' });
    const neighbour = await RawClient.connected(door, other.credential, { clientId: 'press-2' });

    door.revoke(press);
    const marked = door.door.broker.markRevoked([serial]);
    expect(marked).toMatchObject([{ deviceId: 'press-1', serial, address: '127.0.0.1' }]);

    // In: dropped without cutting the session, so that the notice still finds its reader.
    expect(await client.publish('v1/d/press-1/out/state', 'late')).toBe('acked');
    expect(await client.publish('v1/d/press-1/out/data/x', 'late')).toBe('acked');
    expect(await client.publish('v1/d/press-1/out/state', 'late', { qos: 2 })).toBe('acked');
    expect(await client.subscribe('v1/d/press-1/in/data/#')).toEqual([128]);
    // Out: neither the fleet's nor another's.
    door.door.broker.publishFleet('v1/fleet/trust', 'x');
    await neighbour.publish('v1/d/press-2/out/data/x', 'x');

    expect(door.door.broker.sendNotice(press.deviceId, 'you are revoked')).toBe(true);
    const notice = await client.message('v1/d/press-1/in/notice');
    expect(notice).toMatchObject({ qos: 1, retain: false });
    await client.publish('v1/d/press-1/out/ack', 'understood');
    await door.until(() => door.messages.length > 0);

    expect(await door.door.broker.close(marked, 'revoked: superseded')).toBe(1);
    await client.closed;
    await neighbour.ping();
    expect(client.messages().map(({ topic }) => topic)).toEqual(['v1/d/press-1/in/notice']);
    expect(door.messages.map(({ payload }) => payload.toString())).toEqual(['understood']);
    expect(door.closed).toEqual([{ deviceId: 'press-1', serial, reason: 'revoked: superseded' }]);
    // Only the revoked one was closed.
    expect(door.door.broker.sessions().map(({ deviceId }) => deviceId)).toEqual(['press-2']);
  });

  test('may not publish for others either', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    door.door.broker.markRevoked([serial]);
    expect(await client.publish('v1/d/press-2/out/ack', 'x')).toBe('closed');
  });

  test('that nobody closes is closed by the patrol', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1', will });
    await door.until(() => door.opened.length === 1);
    door.revoke(press);
    await client.closed;
    await door.until(() => door.closed.length === 1);
    expect(door.closed[0]?.reason).toBe('revoked');
    expect(door.messages).toEqual([]);
  });
});

describe('a revocation at the worst moment', () => {
  test('between the look-up and the registration: refused with CONNACK 5, never listed', async () => {
    door.admit = async (request) => {
      const grant = await door.judge(request);
      door.revoke(press);
      expect(door.door.broker.markRevoked([serial])).toEqual([]);
      return grant;
    };
    const client = await RawClient.open(door, press.credential);
    expect(await client.connect({ clientId: 'press-1' })).toBe(5);
    await client.closed;
    expect(door.opened).toEqual([]);
    expect(door.door.broker.sessions()).toEqual([]);
    expect(door.refused).toMatchObject([{ code: 'CERTIFICATE_REVOKED', deviceId: 'press-1' }]);
  });

  test('while another session of the device lives: the refused one does not displace it', async () => {
    const first = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    const renewed = await door.device('press-1');
    door.admit = async (request) => {
      const grant = await door.judge(request);
      door.denied.add(grant.serial);
      return grant;
    };
    const second = await RawClient.open(door, renewed.credential);
    expect(await second.connect({ clientId: 'press-1' })).toBe(5);
    await second.closed;
    expect(await first.ping()).toBe('acked');
    expect(door.door.broker.sessionsOf(press.deviceId)).toMatchObject([{ serial }]);
    expect(door.door.broker.markRevoked([serial])).toHaveLength(1);
  });

  test('between registration and CONNACK: found and closed', async () => {
    const client = await RawClient.open(door, press.credential);
    const answer = client.connect({ clientId: 'press-1' });
    // The table lists the session as soon as the operation has granted it.
    await door.until(() => door.requests.length === 1);
    while (door.door.broker.markRevoked([serial]).length === 0) await new Promise((resolve) => setImmediate(resolve));
    door.revoke(press);
    expect(await door.door.broker.close(door.door.broker.sessions(), 'revoked')).toBe(1);
    await client.closed;
    expect(await answer).toBeOneOf(['closed', 0]);
    expect(door.door.broker.sessions()).toEqual([]);
  });
});

describe('close', () => {
  test('resolves when the sockets are closed, counts each once, and leaves no connection behind', async () => {
    const clients: RawClient[] = [];
    for (let i = 0; i < 20; i += 1) {
      const known = await door.device(`d-${i}`);
      clients.push(await RawClient.connected(door, known.credential, { clientId: `d-${i}` }));
    }
    const sessions = door.door.broker.sessions();
    expect(sessions).toHaveLength(20);
    const [first, second] = await Promise.all([
      door.door.broker.close(sessions, 'revoked'),
      door.door.broker.close(sessions, 'revoked again'),
    ]);
    expect([first, second]).toEqual([20, 0]);
    expect(door.door.broker.sessions()).toEqual([]);
    expect(door.closed.every(({ reason }) => reason === 'revoked')).toBe(true);
    await Promise.all(clients.map((client) => client.closed));
    await expect.poll(() => door.door.counts().sockets).toBe(0);
    expect(await door.door.broker.close(sessions, 'gone already')).toBe(0);
  });

  test('does not wait for a client that has stopped reading', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    client.socket.pause();
    await door.until(() => door.opened.length === 1);
    expect(await door.door.broker.close(door.door.broker.sessions(), 'revoked')).toBe(1);
  });
});

describe('notices', () => {
  test('are handed over only to a session that listens', async () => {
    const { broker } = door.door;
    expect(broker.sendNotice(press.deviceId, 'x')).toBe(false);
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    await door.until(() => door.opened.length === 1);
    expect(broker.sendNotice(press.deviceId, 'x')).toBe(false);
    await client.subscribe('v1/d/press-1/in/data/#');
    expect(broker.sendNotice(press.deviceId, 'x')).toBe(false);
    await client.subscribe('v1/d/press-1/in/+');
    expect(broker.sendNotice(press.deviceId, 'first')).toBe(true);
    expect((await client.message()).payload.toString()).toBe('first');
    await client.unsubscribe('v1/d/press-1/in/+');
    expect(broker.sendNotice(press.deviceId, 'x')).toBe(false);
    await client.end();
    expect(broker.sendNotice(press.deviceId, 'x')).toBe(false);
  });

  test('none is lost among telemetry of the same moment', async () => {
    const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
    await client.subscribe('v1/d/press-1/in/#', 'v1/d/+/out/data/#');
    const other = await door.device('press-2', { group: 'presses' });
    const neighbour = await RawClient.connected(door, other.credential, { clientId: 'press-2' });
    const total = 200;
    const publishing = (async () => {
      for (let i = 0; i < total; i += 1)
        await neighbour.publish('v1/d/press-2/out/data/x', `${i}`, { qos: i % 2 === 0 ? 1 : 0 });
    })();
    for (let i = 0; i < total; i += 1) {
      await Promise.resolve();
      expect(door.door.broker.sendNotice(press.deviceId, `notice ${i}`)).toBe(true);
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await publishing;
    for (let i = 0; i < total; i += 1) {
      expect((await client.message('v1/d/press-1/in/notice')).payload.toString()).toBe(`notice ${i}`);
    }
    for (let i = 0; i < total; i += 1) await client.message('v1/d/press-2/out/data/x');
  });
});

test('a session ends with its certificate', async () => {
  const client = await RawClient.connected(door, press.credential, { clientId: 'press-1' });
  await door.until(() => door.opened.length === 1);
  door.clockOffset = press.credential.notAfter - Date.now() + 1500;
  await client.closed;
  await door.until(() => door.closed.length === 1);
  expect(door.closed[0]?.reason).toBe('certificate-expired');
});
