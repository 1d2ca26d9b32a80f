import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RenewOrdered } from '#gateway/contract/operator-api.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { useOnce } from '#test/fixtures/processes/persistent-device.ts';

describe('a notice is delivered until the device has acknowledged it', () => {
  let gateway: GatewayProcess;
  let pump: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
    pump = new AgentProcess(gateway.folder, 'pump-1');
    await pump.enroll((await gateway.addDevice('pump-1')).joinUrl);
  });
  afterAll(async () => {
    await pump?.stop();
    await gateway?.dispose();
  });

  function renew(deviceId: string): Promise<RenewOrdered> {
    return gateway.operator.call<RenewOrdered>('renewDevice', { params: [deviceId], body: {} });
  }

  test('although the device was away when it was ordered, and the gateway was stopped since', async () => {
    const before = await pump.certificate();
    const order = await renew('pump-1');
    expect(order).toMatchObject({ deviceId: 'pump-1', serial: before.serial, delivered: false });
    await gateway.stop();
    await gateway.restart();
    expect((await gateway.device('pump-1')).notices).toEqual([
      { id: order.noticeId, kind: 'renew', seq: expect.any(Number), state: 'outbox' },
    ]);
    await pump.connect();
    await pump.logged('certificate renewed', { oldSerial: before.serial });
    const device = await gateway.deviceSoon(
      'pump-1',
      'the notice to be done',
      ({ notices }) => notices[0]?.state === 'done',
    );
    expect(device.session?.serial).toBe((await pump.certificate()).serial);
  });

  test('although the gateway was killed while the device was connected', async () => {
    const mark = pump.daemon.mark();
    await gateway.kill9();
    await pump.logged('session ended', {}, mark);
    await gateway.restart();
    await pump.logged('connected', {}, mark);
    const before = await pump.certificate();
    const order = await renew('pump-1');
    await pump.logged('certificate renewed', { oldSerial: before.serial }, mark);
    const device = await gateway.deviceSoon('pump-1', 'the notice to be done', ({ notices }) =>
      notices.some(({ id, state }) => id === order.noticeId && state === 'done'),
    );
    const seqs = device.notices.map(({ seq }) => seq);
    expect(new Set(seqs).size).toBe(seqs.length);
  });

  test('in every session anew, with the same content, when the device only receives it', async () => {
    const credential = await enrollByHand(gateway, 'silent-1');
    const first = await RawClient.connected(mqttDoorOf(gateway), credential, { clientId: 'silent-1' });
    await first.subscribe('v1/d/silent-1/in/notice');
    const order = await renew('silent-1');
    expect(order.delivered).toBe(true);
    const sent = String((await first.message()).payload);
    // PUBACK says that it arrived, not that it was handled.
    await first.end();
    await gateway.kill9();
    await gateway.restart();
    const second = await RawClient.connected(mqttDoorOf(gateway), credential, { clientId: 'silent-1' });
    await second.subscribe('v1/d/silent-1/in/notice');
    expect(String((await second.message()).payload)).toBe(sent);
    const ack = JSON.stringify({ noticeId: order.noticeId, outcome: 'done' });
    expect(await second.publish('v1/d/silent-1/out/ack', ack)).toBe('acked');
    await gateway.deviceSoon('silent-1', 'the notice to be done', ({ notices }) => notices[0]?.state === 'done');
    await second.end();

    const third = await RawClient.connected(mqttDoorOf(gateway), credential, { clientId: 'silent-1' });
    await third.subscribe('v1/d/silent-1/in/notice');
    await third.ping();
    expect(third.messages()).toEqual([]);
    await third.end();
  });

  test('but an order that is still open is not stacked', async () => {
    await useOnce(gateway, 'slow-1', await enrollByHand(gateway, 'slow-1'));
    const first = await renew('slow-1');
    expect((await renew('slow-1')).noticeId).toBe(first.noticeId);
    expect((await gateway.device('slow-1')).notices).toHaveLength(1);
  });

  test('and nobody else can acknowledge it', async () => {
    const order = (await gateway.device('slow-1')).notices[0];
    const other = await enrollByHand(gateway, 'other-1');
    const client = await RawClient.connected(mqttDoorOf(gateway), other, { clientId: 'other-1' });
    await client.publish('v1/d/other-1/out/ack', JSON.stringify({ noticeId: order?.id, outcome: 'done' }));
    await client.end();
    await gateway.deviceSoon('other-1', 'it to be gone', ({ session }) => session === null);
    expect((await gateway.device('slow-1')).notices[0]?.state).toBe('outbox');
  });
});
