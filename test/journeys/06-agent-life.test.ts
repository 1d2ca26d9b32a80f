import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeviceDetail, RenewOrdered } from '#gateway/contract/operator-api.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';

describe('the agent of a device lives', () => {
  let gateway: GatewayProcess;
  let press: AgentProcess;
  let monitor: AgentProcess;
  let hookFile: string;
  /** With a certificate that lives for seconds: they pass while other things are tried. */
  let brief: AgentProcess;
  /** The same, enrolled and then never started. */
  let forgotten: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway();
    await gateway.addGroup('brief', { lifetimeSeconds: 20, overlapSeconds: 2 });
    brief = new AgentProcess(gateway.folder, 'brief-1');
    forgotten = new AgentProcess(gateway.folder, 'forgotten-1');
    for (const agent of [forgotten, brief])
      await agent.enroll((await gateway.addDevice(agent.deviceId, 'brief')).joinUrl);
    await brief.connect('--hook', 'sleep 600', '--hook-timeout', '1');
    hookFile = join(gateway.folder, 'hook.txt');
    await gateway.addGroup('monitors', { readFrom: ['default'] });
    press = new AgentProcess(gateway.folder, 'press-07');
    monitor = new AgentProcess(gateway.folder, 'monitor-1');
    await press.enroll((await gateway.addDevice('press-07')).joinUrl, '--no-confirm');
    await monitor.enroll((await gateway.addDevice('monitor-1', 'monitors')).joinUrl);
    await Promise.all([
      press.connect(
        '--hook',
        `[ "$GATEHOUSE_CHANGED" != certificate ] || printf '%s %s' "$GATEHOUSE_OLD_SERIAL" "$GATEHOUSE_SERIAL" > '${hookFile}'`,
      ),
      monitor.connect(),
    ]);
  });
  afterAll(async () => {
    await Promise.all([press?.stop(), monitor?.stop(), brief?.stop()]);
    await gateway?.dispose();
  });

  test('confirms, with its first session, a certificate that was not confirmed before', async () => {
    const device = await gateway.deviceSoon('press-07', 'a session', ({ session }) => session !== null);
    const { serial } = await press.certificate();
    expect(device).toMatchObject({
      state: 'enrolled',
      session: { serial, address: expect.stringContaining('127.0.0.1') },
    });
    expect(device.certificates.map(({ state }) => state)).toEqual(['active']);
    expect(await press.status()).toMatchObject({ exitCode: 0, state: 'enrolled', connected: true, running: true });
  });

  test('publishes telemetry that another device, which may, listens to', async () => {
    const listening = new RunningProcess(
      'listen',
      monitor.argumentsOf('listen', 'v1/d/press-07/out/data/#', '--count', '2'),
    );
    await listening.logged('listening');
    for (const celsius of ['21.5', '22.5']) await press.ok('publish', 'temperature', celsius);
    expect((await listening.ended).code).toBe(0);
    expect(listening.stdout.map((line) => JSON.parse(line) as unknown)).toEqual([
      { topic: 'v1/d/press-07/out/data/temperature', payload: '21.5' },
      { topic: 'v1/d/press-07/out/data/temperature', payload: '22.5' },
    ]);
  });

  test('is told when it may not listen', async () => {
    const { code, stderr } = await press.command(['listen', 'v1/d/monitor-1/out/data/#', '--timeout', '5']);
    expect(code).toBe(3);
    expect(stderr).toContain('does not let this device read');
  });

  test('renews when a notice orders it: new key, session moved, old certificate superseded, hook run', async () => {
    const before = await press.certificate();
    const keyBefore = await readFile(press.path('current/key.pem'), 'utf8');
    const mark = press.daemon.mark();
    const order = await gateway.operator.call<RenewOrdered>('renewDevice', { params: ['press-07'], body: {} });
    expect(order).toMatchObject({ serial: before.serial, delivered: true });

    const { fields } = await press.logged('certificate renewed', {}, mark);
    expect(fields).toMatchObject({ oldSerial: before.serial });
    const isDone = (device: DeviceDetail) =>
      device.notices.some(({ id, state }) => id === order.noticeId && state === 'done') &&
      device.certificates.some(({ serial, state }) => serial === before.serial && state === 'superseded');
    const device = await gateway.deviceSoon('press-07', 'the renewal to be done', isDone);
    const after = await press.certificate();
    expect(after.serial).toBe(fields['newSerial']);
    expect(device.session?.serial).toBe(after.serial);
    expect(after.subjectAltName?.equals(before.subjectAltName ?? Buffer.alloc(0))).toBe(true);
    expect(await readFile(press.path('current/key.pem'), 'utf8')).not.toBe(keyBefore);
    await press.logged('hook ended', { exitCode: 0, timedOut: false }, mark);
    expect(await readFile(hookFile, 'utf8')).toBe(`${before.serial} ${after.serial}`);
    expect((await press.status()).hook).toMatchObject({ exitCode: 0, timedOut: false });
  });

  test('renews when its owner says so, through the running agent', async () => {
    const before = await press.certificate();
    const { stdout } = await press.ok('renew', '--json');
    const after = await press.certificate();
    expect(after.serial).not.toBe(before.serial);
    expect(stdout).toContain(after.serial);
  });

  test('is not let in again with what it has replaced', async () => {
    const { certificates } = await gateway.device('press-07');
    expect(certificates.filter(({ state }) => state === 'active')).toHaveLength(1);
    expect(certificates.filter(({ state }) => state === 'superseded').length).toBeGreaterThan(1);
  });

  test('is noticed when a second one starts on the same folder', async () => {
    const { code, stderr } = await press.command(['run']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/already|runs/);
    expect((await press.status()).connected).toBe(true);
  });

  test('makes a new session when its owner sends SIGHUP', async () => {
    const [mark, at] = [press.daemon.mark(), gateway.mark()];
    press.daemon.signal('SIGHUP');
    await press.logged('connected', {}, mark);
    await gateway.logged('session closed', { deviceId: 'press-07' }, at);
  });

  test('ends cleanly on SIGTERM: the gateway sees it go, and status says that no agent runs', async () => {
    const mark = gateway.mark();
    expect((await monitor.daemon.stop()).code).toBe(0);
    await gateway.logged('session closed', { deviceId: 'monitor-1' }, mark);
    const device = await gateway.deviceSoon('monitor-1', 'no session', ({ session }) => session === null);
    expect(device.lastSession).toMatchObject({ endReason: expect.any(String), endedAt: expect.any(Number) });
    expect(await monitor.status()).toMatchObject({ exitCode: 0, state: 'enrolled', connected: false, running: false });
  });

  describe('with a certificate that lives for seconds', () => {
    test('renews by its own rule, again and again, though the hook hangs', async () => {
      const { fields } = await brief.logged('certificate renewed');
      await brief.logged('hook ended', { exitCode: null, timedOut: true });
      await brief.logged('certificate renewed', { oldSerial: fields['newSerial'] });
      const device = await gateway.device('brief-1');
      // Nobody told it to.
      expect(device.notices).toEqual([]);
      expect(device.certificates.length).toBeGreaterThanOrEqual(3);
      expect((await brief.status()).hook).toMatchObject({ timedOut: true });
    });

    test('says that it is not well when that has expired', async () => {
      const { notAfter } = await forgotten.certificate();
      // Time alone brings this about; all of it or most has passed by now.
      await delay(Math.max(0, notAfter + 1000 - Date.now()));
      expect(await forgotten.status()).toMatchObject({ exitCode: 1, state: 'expired', connected: false });
      const { code, stdout } = await forgotten.command(['check']);
      expect(code).toBe(1);
      expect(stdout).toMatch(/expired/);
    });
  });

  test('names what is wrong in its folder', async () => {
    await monitor.stop();
    await writeFile(monitor.path('current/key.pem'), 'not a key');
    const { code, stdout } = await monitor.command(['check']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/failed {2}.*identity/);
  });
});
