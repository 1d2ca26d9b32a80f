import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimFor } from '#test/fixtures/processes/agent-detours.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { canFakeClocks, FakeClock } from '#test/fixtures/processes/fake-clock.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';

const YEAR_MS = 365.25 * 24 * 3600_000;
const HOUR_MS = 3600_000;

async function floorOf(agent: AgentProcess): Promise<number> {
  const { floor } = JSON.parse(await readFile(join(agent.stateDir, 'time-floor.json'), 'utf8')) as { floor: number };
  return floor;
}

describe.skipIf(!canFakeClocks)('a device whose clock is wrong', () => {
  let gateway: GatewayProcess;
  const agents: AgentProcess[] = [];
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(async () => {
    await Promise.all(agents.map((each) => each.stop()));
    await gateway?.dispose();
  });

  async function deviceWithClock(deviceId: string) {
    const { joinUrl } = await gateway.addDevice(deviceId);
    const clock = new FakeClock(gateway.folder, deviceId);
    const agent = new AgentProcess(gateway.folder, deviceId, clock.env);
    agents.push(agent);
    return { joinUrl, clock, agent };
  }

  test.each([
    ['1970', '1970-01-02T00:00:00Z'],
    ['2050', '2050-06-01T00:00:00Z'],
  ])('enrolls, connects and renews in %s', async (year, date) => {
    const { joinUrl, clock, agent } = await deviceWithClock(`pump-${year}`);
    clock.set(date);
    const before = Date.now();
    await agent.enroll(joinUrl);
    await agent.connect();
    expect(await floorOf(agent)).toBeGreaterThan(before - HOUR_MS);
    expect(await floorOf(agent)).toBeLessThan(Date.now() + HOUR_MS);
    const { serial } = await agent.certificate();
    await agent.ok('renew');
    expect((await agent.certificate()).serial).not.toBe(serial);
    const status = await agent.status();
    expect(status).toMatchObject({ state: 'enrolled', connected: true });
    // By the gateway's time, not by its own.
    expect(status.nextRenewalAt).toBeGreaterThan(Date.now());
    expect(status.nextRenewalAt).toBeLessThan(Date.now() + 8 * 24 * HOUR_MS);
    await agent.stop();
    await agent.connect();
  });

  test('enrolls in 2050 by a claim over MQTT, where it can ask EST what time it is', async () => {
    const { clock, agent } = await deviceWithClock('pump-claimed');
    const claim = await claimFor(gateway, 'pump-claimed');
    clock.set('2050-06-01T00:00:00Z');
    await agent.ok('enroll', '--via', 'mqtt', claim);
    expect(await gateway.device('pump-claimed')).toMatchObject({ state: 'enrolled' });
  });

  test('is told the time when its report shows that its clock is wrong, and takes it', async () => {
    const { joinUrl, clock, agent } = await deviceWithClock('pump-told');
    await agent.enroll(joinUrl);
    // Within the dates of every certificate, so that nothing fails by it.
    clock.runsAheadBy(2 * HOUR_MS);
    await agent.connect();
    await agent.logged('notice received', { kind: 'time' });
    await gateway.deviceSoon('pump-told', 'that it has taken the time', ({ notices }) =>
      notices.some(({ kind, state }) => kind === 'time' && state === 'done'),
    );
    const { notices } = await gateway.device('pump-told');
    expect(notices.filter(({ kind }) => kind === 'time')).toHaveLength(1);
  });

  test('goes on with the true time when its clock jumps ahead and back in the middle of waiting', async () => {
    const { joinUrl, clock, agent } = await deviceWithClock('pump-jumps');
    await agent.enroll(joinUrl);
    const daemon = await agent.connect();
    const { serial } = await agent.certificate();
    for (const offset of [24 * YEAR_MS, -56 * YEAR_MS, 30 * 24 * HOUR_MS]) {
      const from = daemon.mark();
      clock.runsAheadBy(offset);
      agent.daemon.signal('SIGHUP');
      await daemon.logged('connected', {}, from);
      const status = await agent.status();
      expect(status).toMatchObject({ state: 'enrolled', connected: true, certificate: { serial } });
      expect(Math.abs((status.lastConnectedAt ?? 0) - Date.now())).toBeLessThan(HOUR_MS);
    }
    // Nothing was renewed by a moment that had only seemed to have come.
    expect((await agent.certificate()).serial).toBe(serial);
  });
});
