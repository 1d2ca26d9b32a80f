import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RenewVia } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { AgentDeps } from '#device-agent/operations/running-agent.ts';
import { enroll, memoryAgent } from '#test/fixtures/device-agent/memory-agent.ts';
import { type Device, RunningDevices } from '#test/fixtures/device-agent/running-devices.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

let gateway: TestGateway;
let devices: RunningDevices;
beforeEach(async () => {
  gateway = await TestGateway.start();
  devices = new RunningDevices();
});
afterEach(async () => {
  await devices.stopAll();
  await gateway.stop();
});

/** Enrolled over EST, running, connected, to renew in this way. */
async function running(renewVia: RenewVia, overrides: Partial<AgentDeps> = {}): Promise<Device> {
  const deps = memoryAgent(overrides);
  const { serial } = await enroll(deps, gateway, { confirm: false, renewVia });
  const { agent, events } = await devices.start(deps);
  await gateway.until(() => gateway.states().some((state) => state['serial'] === serial));
  return { deps, agent, events, serial };
}

const renewals = () => gateway.calls.filter(({ operation }) => operation === 'simplereenroll');

describe('a renewal', () => {
  test('goes over EST while that is reached', async () => {
    const { agent } = await running('auto');
    await agent.renewNow();
    expect(renewals()).toMatchObject([{ via: 'est' }]);
    expect(agent.status()).toMatchObject({ renewVia: 'auto', lastAttempt: { outcome: 'issued', via: 'est' } });
  });

  test('goes over the MQTT session when EST cannot be reached', async () => {
    const { agent, serial } = await running('auto');
    await gateway.stopEst();
    const { oldSerial, newSerial, attemptId } = await agent.renewNow();
    expect(oldSerial).toBe(serial);
    expect(renewals()).toMatchObject([{ via: 'mqtt', peerSerial: serial, deviceId: 'pump-17', attemptId }]);
    await gateway.until(() => gateway.states().at(-1)?.['serial'] === newSerial);
    expect(agent.status().lastAttempt).toMatchObject({ id: attemptId, outcome: 'issued', via: 'mqtt' });
  });

  test('goes over MQTT alone when it is told so', async () => {
    const { agent, serial } = await running('mqtt');
    await agent.renewNow();
    expect(renewals()).toMatchObject([{ via: 'mqtt', peerSerial: serial }]);
  });

  test('is not made over MQTT when only EST is wanted', async () => {
    const { agent } = await running('est');
    await gateway.stopEst();
    await expect(agent.renewNow()).rejects.toMatchObject({ code: 'GATEWAY_UNREACHABLE' });
    expect(renewals()).toEqual([]);
  });

  test('is ordered by a notice and carried out without EST', async () => {
    const { serial } = await running('auto');
    await gateway.stopEst();
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => gateway.acks(noticeId).includes('done'));
    expect(renewals()).toMatchObject([{ via: 'mqtt', label: undefined }]);
  });

  test('whose answer is lost over MQTT asks again with the same key', async () => {
    const { agent } = await running('mqtt');
    gateway.decide = () => 'lose';
    const error: unknown = await agent.renewNow().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AgentError);
    expect(error).toMatchObject({ code: 'GATEWAY_UNREACHABLE', attemptId: renewals()[0]?.attemptId });
    gateway.decide = () => 'issue';
    await agent.renewNow();
    const [first, second] = renewals();
    expect(second?.spki).toBe(first?.spki);
  });

  test('that is refused over MQTT tells the reason and the attempt, and keeps the identity', async () => {
    const { agent, serial } = await running('mqtt');
    gateway.decide = () => ({ status: 403, body: 'DEVICE_NOT_ALLOWED: quarantined' });
    const error: unknown = await agent.renewNow().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'GATEWAY_REFUSED', message: 'DEVICE_NOT_ALLOWED: quarantined' });
    expect(error).toMatchObject({ attemptId: renewals()[0]?.attemptId });
    expect(agent.status().certificate?.serial).toBe(serial);
  });

  test('waits for the session when it is just not there', async () => {
    const { agent } = await running('mqtt');
    agent.reconnect();
    await agent.renewNow();
    expect(renewals()).toMatchObject([{ via: 'mqtt' }]);
  });

  test.each(['est', 'mqtt'] as const)('over %s is bound when the one before had to be', async (via) => {
    gateway.requiresBinding = true;
    const { agent } = await running(via);
    await agent.renewNow();
    expect(renewals()).toMatchObject([{ via, binding: 'right' }]);
  });
});
