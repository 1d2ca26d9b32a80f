import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { RawClient, type RawConnect } from '#test/fixtures/mqtt/raw-client.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';

/** MQTT 3.1.1 3.2.2.3. */
const [ACCEPTED, UNACCEPTABLE_VERSION, IDENTIFIER_REJECTED, NOT_AUTHORIZED] = [0, 1, 2, 5];
const DENIED = 0x80;

describe('MQTT 3.1.1, packet by packet', () => {
  let gateway: GatewayProcess;
  let door: ReturnType<typeof mqttDoorOf>;
  const open: RawClient[] = [];
  const devices: Record<string, Credential> = {};
  beforeAll(async () => {
    gateway = await startGateway();
    door = mqttDoorOf(gateway);
    await gateway.addGroup('readers', { readFrom: ['default'] });
    for (const id of ['press-1', 'press-2', 'version-1', 'wrong-1', 'wrong-2', 'nameless-1']) {
      devices[id] = await enrollByHand(gateway, id);
    }
    devices['reader-1'] = await enrollByHand(gateway, 'reader-1', { group: 'readers' });
  });
  afterAll(async () => {
    for (const client of open) client.destroy();
    await gateway?.dispose();
  });

  async function connected(deviceId: string, wish: Partial<RawConnect> = {}): Promise<RawClient> {
    const { client, code } = await connect(deviceId, wish);
    expect(code).toBe(ACCEPTED);
    return client;
  }

  async function connect(
    deviceId: string,
    wish: Partial<RawConnect> = {},
  ): Promise<{ client: RawClient; code: number | 'closed' }> {
    const client = await RawClient.open(door, devices[deviceId]);
    open.push(client);
    return { client, code: await client.connect({ clientId: deviceId, ...wish }) };
  }

  /** CONNACK with this code, then nothing but the end. */
  async function expectRefused(deviceId: string, wish: Partial<RawConnect>, code: number, reason: string) {
    const mark = gateway.mark();
    const refused = await connect(deviceId, wish);
    expect(refused.code).toBe(code);
    await refused.client.closed;
    expect(refused.client.packets).toHaveLength(1);
    await gateway.logged('session refused', { code: reason }, mark);
  }

  test('CONNECT of MQTT 5 is answered with CONNACK 1 in the form of 3.1.1, and the end', async () => {
    await expectRefused('version-1', { protocolVersion: 5 }, UNACCEPTABLE_VERSION, 'MQTT_VERSION_NOT_SUPPORTED');
  });

  test('a bridge is not let in', async () => {
    await expectRefused('version-1', { bridgeMode: true }, UNACCEPTABLE_VERSION, 'MQTT_VERSION_NOT_SUPPORTED');
  });

  test('MQTT 3.1 is', async () => {
    await (await connected('version-1', { protocolVersion: 3 })).end();
  });

  test.each(['press-2', 'PRESS-1', 'press-1 ', 'constructor', '__proto__', 'toString', '$SYS', '#', 'x'.repeat(63)])(
    'the client id "%s" does not open the session of another',
    async (clientId) => {
      // Few refusals each: a certificate that goes on is cut before it is asked.
      const deviceId = clientId.length % 2 === 0 ? 'wrong-1' : 'wrong-2';
      await expectRefused(deviceId, { clientId }, NOT_AUTHORIZED, 'CLIENT_ID_MISMATCH');
    },
  );

  test('an empty client id is one with CleanSession, and is rejected without', async () => {
    await (await connected('nameless-1', { clientId: '' })).end();
    await expectRefused('nameless-1', { clientId: '', clean: false }, IDENTIFIER_REJECTED, 'CLIENT_ID_REQUIRED');
  });

  test('a session without keepalive, or with a very long one, is not let in', async () => {
    for (const keepalive of [0, 65_535]) {
      await expectRefused('press-2', { keepalive }, NOT_AUTHORIZED, 'KEEPALIVE_REQUIRED');
    }
  });

  test.each(['v1/d/press-1/out/state', 'v1/d/press-2/out/data/x', 'v1/d/press-2/in/notice', '$SYS/x', 'v1/d/#'])(
    'a will on "%s" is not let in',
    async (topic) => {
      const will = { topic, payload: 'gone' };
      const mark = gateway.mark();
      const { client, code } = await connect('press-2', { will });
      expect([NOT_AUTHORIZED, 'closed']).toContain(code);
      await client.closed;
      await gateway.logged('session refused', { code: 'WILL_NOT_ALLOWED' }, mark);
    },
  );

  test('CONNACK says that no session is kept, whatever was asked', async () => {
    const first = await connected('press-1', { clean: false });
    await first.subscribe('v1/d/press-1/in/#');
    await first.end();
    const again = await connected('press-1', { clean: false });
    expect(again.packets[0]).toMatchObject({ cmd: 'connack', returnCode: 0, sessionPresent: false });
    await again.end();
  });

  test('SUBSCRIBE that mixes allowed and denied filters: each has its own answer', async () => {
    const client = await connected('press-1');
    const filters = {
      'v1/d/press-1/in/#': 1,
      'v1/d/press-2/in/#': DENIED,
      '#': DENIED,
      '+/+/+/in/notice': DENIED,
      '$SYS/#': DENIED,
      'v1/d/+/in/notice': DENIED,
      'v1/d/press-1/in/notice': 1,
      'v1/d/press-1/out/state': DENIED,
      'v1/d/press-2/out/data/#': DENIED,
      '$share/g/v1/d/press-1/in/#': DENIED,
      'v1/fleet/revocations': 1,
    };
    expect(await client.subscribe(...Object.keys(filters))).toEqual(Object.values(filters));
    await client.end();
  });

  test('nothing of a denied filter is ever delivered: not now, not after a reconnect', async () => {
    const curious = await connected('press-1', { clean: false });
    expect(await curious.subscribe('v1/d/press-1/in/notice', 'v1/d/press-2/out/data/#')).toEqual([1, DENIED]);
    const reader = await connected('reader-1');
    expect(await reader.subscribe('v1/d/+/out/data/#')).toEqual([1]);
    const other = await connected('press-2');
    expect(await other.publish('v1/d/press-2/out/data/x', 'online')).toBe('acked');
    // Whoever may read it has it: so it was passed on.
    expect(String((await reader.message()).payload)).toBe('online');
    await curious.ping();
    await curious.end();
    await other.publish('v1/d/press-2/out/data/x', 'offline');
    expect(String((await reader.message()).payload)).toBe('offline');
    const back = await connected('press-1', { clean: false });
    await back.subscribe('v1/d/press-1/in/notice');
    await back.ping();
    expect([...curious.messages(), ...back.messages()]).toEqual([]);
    await Promise.all([back.end(), reader.end(), other.end()]);
  });

  test('a retained message of a device is not kept for those who come later', async () => {
    const press = await connected('press-1');
    expect(await press.publish('v1/d/press-1/out/data/kept', '1', { retain: true })).toBe('acked');
    const reader = await connected('reader-1');
    await reader.subscribe('v1/d/+/out/data/#');
    await reader.ping();
    expect(reader.messages()).toEqual([]);
    await Promise.all([press.end(), reader.end()]);
  });

  test.each([
    '$SYS/x/new/clients',
    '$SYS/broker/uptime',
    '#',
    'v1/d/+/in/notice',
    'v1/d/press-2/out/data/x',
    'v1/d/press-2/in/notice',
    'v1/d/press-1/in/notice',
    'v1/fleet/revocations',
    'v1/d/constructor/out/data/x',
    'v1/d/__proto__/out/data/x',
    'constructor',
    '__proto__',
  ])('PUBLISH to "%s" ends the session, is acknowledged to nobody, and reaches nobody', async (topic) => {
    const victim = await connected('press-2');
    await victim.subscribe('v1/d/press-2/in/#', 'v1/fleet/#');
    // What the gateway keeps for the fleet comes first, and must stay all there is.
    await victim.message('v1/fleet/revocations');
    await victim.message('v1/fleet/trust');
    const mark = gateway.mark();
    const client = await connected('press-1');
    expect(await client.publish(topic, 'press-2')).toBe('closed');
    // MQTT 3.1.1 3.3.2.1 forbids wildcards: then it is the protocol that is broken.
    const reasons = /[+#]/.test(topic) ? ['publish-refused', 'protocol-error'] : ['publish-refused'];
    await gateway.process.until(`the end of the session: ${reasons.join(' or ')}`, () =>
      reasons
        .map((reason) => gateway.process.find('session closed', { deviceId: 'press-1', reason }, mark))
        .find((line) => line !== undefined),
    );
    // The victim was neither thrown out nor told anything.
    expect(await victim.ping()).toBe('acked');
    expect(victim.messages()).toHaveLength(2);
    await victim.end();
  });

  test('QoS 0, 1 and 2 are taken on its own topics', async () => {
    const press = await connected('press-1');
    const reader = await connected('reader-1');
    await reader.subscribe('v1/d/+/out/data/#');
    for (const qos of [0, 1, 2] as const) {
      expect(await press.publish('v1/d/press-1/out/data/qos', String(qos), { qos })).toBe('acked');
      expect(String((await reader.message()).payload)).toBe(String(qos));
    }
    await Promise.all([press.end(), reader.end()]);
  });

  test('names that mean something to a program are ordinary topic levels', async () => {
    const press = await connected('press-1');
    const reader = await connected('reader-1');
    await reader.subscribe('v1/d/+/out/data/#');
    for (const level of ['constructor', '__proto__', 'prototype', 'toString']) {
      expect(await press.publish(`v1/d/press-1/out/data/${level}`, level)).toBe('acked');
      expect(String((await reader.message()).payload)).toBe(level);
    }
    await Promise.all([press.end(), reader.end()]);
  });

  test('a device called constructor lives as any other', async () => {
    devices['constructor'] = await enrollByHand(gateway, 'constructor');
    const client = await connected('constructor');
    expect(await client.subscribe('v1/d/constructor/in/#')).toEqual([1]);
    expect(await client.publish('v1/d/constructor/out/data/x', '1')).toBe('acked');
    await gateway.deviceSoon('constructor', 'its session', ({ session }) => session !== null);
    await client.end();
  });

  test('a second CONNECT of the device ends its first session', async () => {
    const first = await connected('press-1');
    const mark = gateway.mark();
    const second = await connected('press-1');
    await first.closed;
    await gateway.logged('session closed', { deviceId: 'press-1', reason: 'taken-over' }, mark);
    expect(await second.ping()).toBe('acked');
    await second.end();
  });

  test('a second CONNECT in one session ends it', async () => {
    const client = await connected('press-1');
    client.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      keepalive: 60,
      clientId: 'press-1',
    });
    await client.closed;
  });

  test('keepalive is enforced: a session that says nothing for one and a half times of it is ended', async () => {
    const mark = gateway.mark();
    const client = await connected('press-1', { keepalive: 1 });
    await client.closed;
    await gateway.logged('session closed', { deviceId: 'press-1', reason: 'keepalive-timeout' }, mark);
  });

  test('a certificate that is refused again and again is cut without an answer, for a while', async () => {
    const codes: (number | 'closed')[] = [];
    for (let turn = 0; turn < 14; turn += 1) {
      const { client, code } = await connect('press-2', { keepalive: 0 });
      codes.push(code);
      client.destroy();
    }
    expect(codes).toContain('closed');
    await gateway.logged('connection of a refused certificate cut');
    // Its neighbours notice nothing.
    await (await connected('press-1')).end();
  });
});
