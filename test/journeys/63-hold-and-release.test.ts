import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeviceHeld } from '#gateway/contract/revocation-api.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';

describe('a hold', () => {
  let gateway: GatewayProcess;
  let press: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway();
    press = new AgentProcess(gateway.folder, 'press-07');
    await press.enroll((await gateway.addDevice('press-07')).joinUrl);
    await press.connect();
    await gateway.deviceSoon('press-07', 'a session', ({ session }) => session !== null);
  });
  afterAll(async () => {
    await press?.stop();
    await gateway?.dispose();
  });

  test('ends the session of the agent, which knows why and keeps running', async () => {
    const held = await gateway.gatehouse<DeviceHeld>('device', 'hold', 'press-07', '--reason', 'lent to the fair');
    expect(held).toMatchObject({ sessionsClosed: 1 });
    await press.logged('this device has been revoked', { reason: 'certificateHold' });
    expect(await press.status()).toMatchObject({ state: 'revoked', running: true, connected: false });
    expect((await press.status()).advice).toContain('lent to the fair');
    expect(await gateway.device('press-07')).toMatchObject({ state: 'held', session: null });
    await press.logged('no session', { outcome: 'refused' });
  });

  test('lets it neither renew nor enroll', async () => {
    const { code } = await press.command(['renew']);
    expect(code).not.toBe(0);
    const ticket = await gateway.command('device', 'add', 'press-07', '--new-ticket');
    expect(ticket).toMatchObject({ code: 1, stderr: expect.stringContaining('held') });
  });

  test('is over after the release: the same certificate is let in again', async () => {
    const { serial } = await press.certificate();
    const released = await gateway.gatehouse('device', 'release', 'press-07');
    expect(released).toEqual({ deviceId: 'press-07', serials: [serial] });
    process.kill(press.daemon.pid, 'SIGHUP');
    const device = await gateway.deviceSoon('press-07', 'its session', ({ session }) => session !== null);
    expect(device).toMatchObject({ state: 'enrolled', session: { serial } });
    await press.statusSoon('a good state', ({ state, connected }) => state === 'enrolled' && connected);
  });
});
