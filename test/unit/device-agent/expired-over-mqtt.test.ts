import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RenewVia } from '#device-agent/domain/agent-config.ts';
import { parseTimeFloor } from '#device-agent/domain/time-floor.ts';
import type { AgentDeps } from '#device-agent/operations/running-agent.ts';
import { enroll, memoryAgent } from '#test/fixtures/device-agent/memory-agent.ts';
import { RunningDevices } from '#test/fixtures/device-agent/running-devices.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

const HOUR_MS = 3600_000;
const ENROLL_TOPIC = 'v1/enroll/pump-17/out/csr';

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

type Away = { deps: AgentDeps; serial: string; hands: { aheadMs: number } };

/**
 * Enrolled, then switched off. What it gets from now on is good for long.
 * @param isEnded by the gateway @param aheadMs how far its own clock is off when it comes back; its certificate lives for half an hour
 */
async function away({
  renewVia = 'mqtt',
  isEnded = true,
  aheadMs = 2 * HOUR_MS,
}: {
  renewVia?: RenewVia;
  isEnded?: boolean;
  aheadMs?: number;
} = {}): Promise<Away> {
  const hands = { aheadMs: 0 };
  const { clock } = memoryAgent();
  const waits = {
    wait: (ms: number, signal?: AbortSignal) => clock.wait(ms >= 60_000 ? ms : Math.min(ms, 50), signal),
  };
  const deps = memoryAgent({ clock: { ...clock, ...waits, now: () => clock.now() + hands.aheadMs } });
  gateway.lifetime = { life: 1800, age: 60 };
  const { serial } = await enroll(deps, gateway, { confirm: false, renewVia });
  gateway.lifetime = { life: 24 * 3600, age: 60 };
  if (isEnded) gateway.ended.add(serial);
  hands.aheadMs = aheadMs;
  return { deps, serial, hands };
}

const renewals = () => gateway.calls.filter(({ operation }) => operation === 'simplereenroll');
const connected = (before: string) =>
  gateway.until(() => gateway.states().some((state) => state['connected'] === true && state['serial'] !== before));

describe('a device that was off past the end of its certificate', () => {
  test('comes back over MQTT alone, by itself', async () => {
    const { deps, serial } = await away();
    await gateway.stopEst();
    const { agent, events } = await devices.start(deps);
    await connected(serial);
    expect(renewals()).toMatchObject([{ via: 'mqtt', peerSerial: serial, deviceId: 'pump-17' }]);
    expect(gateway.enrolling).toEqual(['pump-17']);
    expect(agent.status()).toMatchObject({
      state: 'enrolled',
      connected: true,
      waiting: null,
      lastAttempt: { id: renewals()[0]?.attemptId, outcome: 'issued', via: 'mqtt' },
    });
    expect(events).toContainEqual(expect.objectContaining({ kind: 'renewed', oldSerial: serial }));
  });

  test('asks EST where that is reached, and MQTT where it is not', async () => {
    const { deps, serial } = await away({ renewVia: 'auto' });
    const first = await devices.start(deps);
    await connected(serial);
    expect([renewals().map(({ via }) => via), gateway.enrolling]).toEqual([['est'], []]);
    await first.agent.stop();

    const current = first.agent.status().certificate?.serial ?? '';
    gateway.ended.add(current);
    await gateway.stopEst();
    deps.clock.now = () => Date.now() + 30 * HOUR_MS;
    gateway.lifetime = { life: 100 * 3600, age: 60 };
    await devices.start(deps);
    await gateway.until(() => renewals().length === 2);
    expect(renewals()[1]).toMatchObject({ via: 'mqtt', peerSerial: current });
    expect(gateway.enrolling).toEqual(['pump-17']);
  });

  test('does not ask over MQTT when only EST is wanted', async () => {
    const { deps } = await away({ renewVia: 'est' });
    await gateway.stopEst();
    const { agent } = await devices.start(deps);
    await expect(agent.renewNow()).rejects.toMatchObject({ code: 'GATEWAY_UNREACHABLE' });
    expect([renewals(), gateway.enrolling]).toEqual([[], []]);
  });

  test('waits for a person with the same key, over a restart too, and shows which', async () => {
    const { deps, serial } = await away();
    await gateway.stopEst();
    gateway.decide = () => ({
      status: 202,
      body: 'APPROVAL_PENDING: ask a person',
      headers: { 'Retry-After': '3600' },
    });
    const first = await devices.start(deps);
    await gateway.until(() => renewals().length > 0);
    await expect
      .poll(() => first.agent.status().waiting)
      .toMatchObject({
        attemptId: renewals()[0]?.attemptId,
        via: 'mqtt',
      });
    expect(first.agent.status()).toMatchObject({
      state: 'expired',
      advice: expect.stringContaining('have it approved'),
    });
    await first.agent.stop();
    gateway.decide = () => 'issue';
    await devices.start(deps);
    await connected(serial);
    expect(new Set(renewals().map(({ spki }) => spki)).size).toBe(1);
  });

  test('keeps its key when it is refused, and says what to do', async () => {
    const { deps } = await away();
    await gateway.stopEst();
    gateway.decide = () => ({ status: 403, body: 'CERTIFICATE_EXPIRED: expired lane, score 95; refused' });
    const { agent } = await devices.start(deps);
    await expect(agent.renewNow()).rejects.toMatchObject({ code: 'GATEWAY_REFUSED' });
    await expect(agent.renewNow()).rejects.toMatchObject({ code: 'GATEWAY_REFUSED' });
    const [first, second] = renewals();
    expect(second?.spki).toBe(first?.spki);
    expect(agent.status()).toMatchObject({
      state: 'expired',
      connected: false,
      lastError: { message: expect.stringContaining('expired lane, score 95') },
      advice: expect.stringMatching(/gatehouse device show.*--replace/),
    });
  });

  test('is told clearly when the broker does not even let it ask', async () => {
    const { deps, serial } = await away();
    await gateway.stopEst();
    gateway.refused.add(serial);
    const { agent } = await devices.start(deps);
    await expect(agent.renewNow()).rejects.toMatchObject({
      code: 'GATEWAY_REFUSED',
      advice: expect.stringMatching(/device show pump-17.*ticket claim pump-17.*enroll --replace/),
    });
    expect(agent.status()).toMatchObject({
      state: 'expired',
      lastError: { message: expect.stringMatching(/CONNACK 5.*has ended/) },
      advice: expect.stringContaining('--replace'),
    });
    expect(renewals()).toEqual([]);
  });

  test('asks again after the session broke before the answer, with the same key', async () => {
    const { deps, serial } = await away();
    await gateway.stopEst();
    gateway.decide = () => 'lose';
    const { agent } = await devices.start(deps);
    await expect(agent.renewNow()).rejects.toMatchObject({ code: 'GATEWAY_UNREACHABLE' });
    gateway.decide = () => 'issue';
    await agent.renewNow();
    await connected(serial);
    expect(new Set(renewals().map(({ spki }) => spki)).size).toBe(1);
  });
});

describe('a device whose clock is wrong', () => {
  test.each([
    ['late', -15 * 60_000],
    ['a few minutes late', 25 * 60_000],
    ['in 1970', -56 * 365 * 24 * HOUR_MS],
  ])('and %s finds out over MQTT alone that its certificate has expired', async (_, aheadMs) => {
    const { deps, serial } = await away({ aheadMs });
    await gateway.stopEst();
    const { agent } = await devices.start(deps);
    await connected(serial);
    expect(renewals()).toMatchObject([{ via: 'mqtt', peerSerial: serial }]);
    expect(agent.status()).toMatchObject({ state: 'enrolled', connected: true });
  });

  test('and stopped when it was switched off finds out by the certificate of the gateway that it is later', async () => {
    const { deps, serial } = await away();
    // By that clock it has yet to begin; the certificate of the device has not ended.
    await gateway.replaceServer({ life: 10 * 3600, age: -2 * 3600 });
    await gateway.stopEst();
    deps.clock.now = () => Date.now();
    const { agent } = await devices.start(deps);
    await connected(serial);
    expect(renewals()).toMatchObject([{ via: 'mqtt', peerSerial: serial }]);
    // Supposed, not learned: it may be the gateway whose clock is wrong.
    expect(parseTimeFloor(await deps.store.readRecord('time-floor')).floor).toBeLessThan(Date.now());
    expect(agent.status()).toMatchObject({ state: 'enrolled', connected: true });
  });

  test('or right, while that of the gateway was wrong, loses nothing by it', async () => {
    const { deps } = await away({ isEnded: false, aheadMs: 0 });
    await gateway.replaceServer({ life: 10 * 3600, age: -2 * 3600 });
    await gateway.stopEst();
    const { agent } = await devices.start(deps);
    await gateway.until(() => gateway.states().some((state) => state['connected'] === true));
    await gateway.replaceServer({ life: 3600, age: 60 });
    await gateway.stopEst();
    const before = gateway.connects.length;
    await gateway.until(() => gateway.connects.length > before);
    await expect.poll(() => agent.status()).toMatchObject({ connected: true });
    await agent.stop();
    await devices.start(deps);
    await gateway.until(() => gateway.connects.length > before + 1);
    expect(parseTimeFloor(await deps.store.readRecord('time-floor')).floor).toBeLessThan(Date.now());
  });

  test('and right is not moved by who is not the gateway', async () => {
    const { deps } = await away({ isEnded: false, aheadMs: 0 });
    const foreign = await TestGateway.start();
    try {
      await foreign.replaceServer({ life: 10 * 3600, age: -2 * 3600 });
      await gateway.stop();
      const config = (await deps.store.readRecord('agent')) as { mqtt: object };
      await deps.store.writeRecord('agent', { ...config, mqtt: { host: '127.0.0.1', port: foreign.mqttPort } });
      const floor = await deps.store.readRecord('time-floor');
      const { events } = await devices.start(deps);
      await expect.poll(() => events.filter(({ kind }) => kind === 'connect-failed').length).toBeGreaterThan(3);
      expect(await deps.store.readRecord('time-floor')).toEqual(floor);
    } finally {
      await foreign.stop();
    }
  });

  test('and ahead renews over its session, since the gateway lets it in as ever', async () => {
    const { deps, serial } = await away({ isEnded: false });
    await gateway.stopEst();
    await devices.start(deps);
    await connected(serial);
    expect(renewals()).toMatchObject([{ via: 'mqtt', peerSerial: serial }]);
    expect(gateway.enrolling).toEqual([]);
  });

  test('is not taken for expired because the broker refuses it for another reason', async () => {
    const { deps, serial } = await away({ isEnded: false, aheadMs: 0 });
    await gateway.stopEst();
    gateway.refused.add(serial);
    const { agent } = await devices.start(deps);
    await gateway.until(() => gateway.connects.length > 3);
    expect(agent.status()).toMatchObject({ state: 'refused', advice: expect.stringContaining('device show') });
    expect([renewals(), gateway.enrolling]).toEqual([[], []]);
  });

  test('asks over HTTPS what time it is when the broker goes on refusing it', async () => {
    const { deps, serial } = await away({ isEnded: false, aheadMs: -5 * 60_000, renewVia: 'est' });
    gateway.refused.add(serial);
    gateway.toldTime = Date.now() + 10 * 60_000;
    await devices.start(deps);
    await gateway.until(() => gateway.connects.length > 4);
    expect(await deps.store.readRecord('time-floor')).toMatchObject({ floor: gateway.toldTime });
    expect(gateway.enrolling).toEqual([]);
  });
});

test('the session to enroll is asked on its own topic, and has no will', async () => {
  const { deps, serial } = await away();
  await gateway.stopEst();
  await devices.start(deps);
  await connected(serial);
  expect(gateway.published.filter(({ topic }) => topic === ENROLL_TOPIC)).toHaveLength(1);
  const states = gateway.states().filter((state) => state['serial'] === serial);
  expect(states).toEqual([]);
});
