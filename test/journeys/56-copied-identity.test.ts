import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { IdentityAlarmDetail, QuarantineReleased } from '#gateway/contract/alarm-api.ts';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';

let gateway: GatewayProcess;
beforeAll(async () => {
  gateway = await startGateway({ staysReachable: true });
});
afterAll(() => gateway?.dispose());

const alarmsOf = (deviceId: string, ...more: string[]) =>
  gateway.gatehouse<IdentityAlarmDetail[]>('alarm', 'list', '--device', deviceId, ...more);

describe('a state folder that was copied, and both are started', () => {
  let original: AgentProcess;
  let copy: AgentProcess;
  let reader: RawClient;
  beforeAll(async () => {
    await gateway.addGroup('monitors', { readFrom: ['default'] });
    const monitor = await enrollByHand(gateway, 'monitor-1', { group: 'monitors' });
    reader = await RawClient.connected(mqttDoorOf(gateway), monitor, { clientId: 'monitor-1' });
    await reader.subscribe('v1/d/press-07/out/data/#');
    original = new AgentProcess(gateway.folder, 'press-07');
    copy = new AgentProcess(join(gateway.folder, 'workshop'), 'press-07');
    await original.enroll((await gateway.addDevice('press-07')).joinUrl);
    await cp(original.stateDir, copy.stateDir, { recursive: true, verbatimSymlinks: true });
  });
  afterAll(async () => {
    await reader?.end();
    await Promise.all([original?.stop(), copy?.stop()]);
  });

  test('is noticed, and neither of the two is heard any more', async () => {
    await original.connect();
    await original.ok('publish', 'temperature', '21');
    await reader.message('v1/d/press-07/out/data/temperature');
    await copy.connect();
    await gateway.logged('identity alarm', { deviceId: 'press-07' });
    await gateway.deviceSoon('press-07', 'the quarantine', ({ state }) => state === 'quarantined');
    await copy.statusSoon('a hint', ({ state }) => state === 'quarantined');
    const { code, stderr } = await copy.command(['publish', 'temperature', '99']);
    expect(code).toBe(3);
    expect(stderr).toContain('quarantine');
    await reader.ping();
    expect(reader.messages()).toHaveLength(1);
  });

  test('is shown to the operator, with what can be done', async () => {
    const [alarm] = await alarmsOf('press-07');
    expect(alarm).toMatchObject({
      deviceId: 'press-07',
      state: 'open',
      kind: expect.stringMatching(/count went back|two places/),
      evidence: { address: expect.stringContaining('127.0.0.1') },
    });
    const { stdout, stderr } = await gateway.command('alarm', 'show', alarm?.id ?? '');
    expect(stdout).toContain('press-07');
    expect(stderr).toContain('gatehouse device revoke press-07');
    const table = await gateway.command('alarm', 'list');
    expect(table.stdout).toContain(alarm?.kind);
    const page = await fetch(new URL('/metrics', gateway.ready.status.url));
    expect(await page.text()).toMatch(/gatehouse_identity_alarms_total\{kind="[a-z -]+"\} [1-9]/);
  });

  test('stays out of hearing over a restart of the gateway', async () => {
    await gateway.kill9();
    await gateway.restart();
    await gateway.logged('session opened', { deviceId: 'press-07' });
    expect(await gateway.device('press-07')).toMatchObject({ state: 'quarantined' });
    // Nobody gets another certificate with a key that two hold.
    const { code } = await original.command(['renew']);
    expect(code).not.toBe(0);
  });

  test('is shut out altogether when the operator revokes, and the one at hand enrolls again', async () => {
    await gateway.gatehouse('device', 'revoke', 'press-07', '--reason', 'keyCompromise');
    await original.stop();
    const { joinUrl } = await gateway.gatehouse<DeviceAdded>('device', 'add', 'press-07', '--new-ticket');
    await original.enroll(joinUrl, '--replace');
    await original.connect();
    await gateway.deviceSoon(
      'press-07',
      'the device',
      ({ state, session }) => state === 'enrolled' && session !== null,
    );
    const monitor = await enrollByHand(gateway, 'monitor-2', { group: 'monitors' });
    const listening = await RawClient.connected(mqttDoorOf(gateway), monitor, { clientId: 'monitor-2' });
    await listening.subscribe('v1/d/press-07/out/data/#');
    await original.ok('publish', 'temperature', '22');
    expect(String((await listening.message('v1/d/press-07/out/data/temperature')).payload)).toBe('22');
    await listening.end();
  });

  test('is told of no more once the operator has closed the alarm, though the copy goes on knocking', async () => {
    // The copy is refused whenever it knocks; the original is not disturbed by it.
    await copy.statusSoon('the refusal', ({ state }) => state === 'refused');
    await gateway.logged('session refused', { deviceId: 'press-07', code: 'CERTIFICATE_REVOKED' });
    expect(await original.status()).toMatchObject({ state: 'enrolled', connected: true });

    for (const { id } of await alarmsOf('press-07')) {
      await gateway.gatehouse('alarm', 'resolve', id, '--decision', 'a card was copied in the workshop');
    }
    expect(await alarmsOf('press-07')).toEqual([]);
    expect((await alarmsOf('press-07', '--state', 'all')).length).toBeGreaterThan(0);
  });
});

describe('a device that has two networks', () => {
  let truck: AgentProcess;
  let credential: Credential;
  beforeAll(async () => {
    credential = await enrollByHand(gateway, 'van-1');
    truck = new AgentProcess(gateway.folder, 'truck-1');
    await truck.enroll((await gateway.addDevice('truck-1')).joinUrl);
  });
  afterAll(() => truck?.stop());

  async function connectFrom(localAddress: string): Promise<RawClient> {
    const from: ConnectionOptions & { localAddress: string } = { localAddress };
    const client = await RawClient.open(mqttDoorOf(gateway), credential, from);
    expect(await client.connect({ clientId: 'van-1' })).toBe(0);
    return client;
  }

  test('is left alone when it roams between them, with clean ends and with dead sessions in between', async () => {
    for (let round = 0; round < 6; round += 1) {
      const client = await connectFrom(round % 2 === 0 ? '127.0.0.1' : '127.0.0.2');
      if (round % 3 === 0) await client.end();
      else client.socket.destroy();
      await client.closed;
      await gateway.deviceSoon('van-1', 'no session', ({ session }) => session === null);
    }
    expect(await alarmsOf('van-1', '--state', 'all')).toEqual([]);
    expect(await gateway.device('van-1')).toMatchObject({ state: 'enrolled' });
  });

  test('is left alone when it is restarted, cleanly and not, and when it connects anew', async () => {
    for (const end of ['SIGTERM', 'SIGKILL', 'SIGKILL'] as const) {
      const daemon = await truck.connect();
      const mark = truck.daemon.mark();
      truck.daemon.signal('SIGHUP');
      await truck.logged('connected', {}, mark);
      daemon.signal(end);
      await daemon.ended;
    }
    await truck.connect();
    expect(await alarmsOf('truck-1', '--state', 'all')).toEqual([]);
    expect(await gateway.device('truck-1')).toMatchObject({ state: 'enrolled' });
  });

  test('is two when both are used at once; released by hand, it is heard again without a new session', async () => {
    for (let round = 0; round < 3; round += 1) for (const from of ['127.0.0.1', '127.0.0.2']) await connectFrom(from);
    const [alarm] = await eventually(
      'an alarm',
      () => alarmsOf('van-1'),
      (alarms) => alarms.length > 0,
    );
    expect(alarm).toMatchObject({ kind: 'take-over ping-pong' });
    const monitor = await enrollByHand(gateway, 'monitor-3', { group: 'monitors' });
    const reader = await RawClient.connected(mqttDoorOf(gateway), monitor, { clientId: 'monitor-3' });
    await reader.subscribe('v1/d/van-1/out/data/#');
    const van = await connectFrom('127.0.0.1');
    expect(await van.publish('v1/d/van-1/out/data/x', 'unheard')).toBe('acked');

    const released = await gateway.gatehouse<QuarantineReleased>(
      'device',
      'release-quarantine',
      'van-1',
      '--reason',
      'two clients of one installation',
    );
    expect(released).toEqual({ deviceId: 'van-1', alarms: [alarm?.id] });
    expect(await van.publish('v1/d/van-1/out/data/x', 'heard')).toBe('acked');
    expect(String((await reader.message('v1/d/van-1/out/data/x')).payload)).toBe('heard');
  });
});

describe('an operator', () => {
  test('puts a device into quarantine, and sees it in the list of devices', async () => {
    await gateway.gatehouse('device', 'quarantine', 'truck-1', '--reason', 'stolen?');
    expect(await gateway.device('truck-1')).toMatchObject({ state: 'quarantined' });
    const again = await gateway.command('device', 'quarantine', 'truck-1', '--reason', 'stolen?');
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('is quarantined');
    await gateway.gatehouse('device', 'release-quarantine', 'truck-1', '--reason', 'found');
    expect(await gateway.device('truck-1')).toMatchObject({ state: 'enrolled' });
  });

  test('changes what counts as a sign', async () => {
    const changed = await gateway.gatehouse('alarm', 'rules', '--take-overs', '8', '--take-overs-within', '5m');
    expect(changed).toMatchObject({ pingPongTakeOvers: 8, pingPongSeconds: 300, reaction: 'quarantine' });
    expect(await gateway.gatehouse('alarm', 'rules')).toEqual(changed);
    const refused = await gateway.command('alarm', 'rules', '--take-overs', '1');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('pingPongTakeOvers');
  });
});
