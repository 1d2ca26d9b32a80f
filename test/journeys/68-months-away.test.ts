import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parsePem } from '#ca/pkix/pem.ts';
import type { CaRolloverStatus } from '#gateway/contract/ca-rollover-api.ts';
import type { RenewOrdered } from '#gateway/contract/operator-api.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { canFakeClocks, FakeClock } from '#test/fixtures/processes/fake-clock.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { temporaryFolder } from '#test/fixtures/processes/temporary-folder.ts';

const DAY_MS = 24 * 3600_000;

/**
 * Sixty days without a device: intermediate and root are replaced, notices wait for it, the gateway is restored from a
 * backup, and the device itself wakes up in 2019.
 */
describe.skipIf(!canFakeClocks)('a device that was away for months', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let ours: FakeClock;
  let its: FakeClock;
  let gateway: GatewayProcess;
  let pump: AgentProcess;
  let oldRoot: Buffer[];
  beforeAll(async () => {
    folder = await temporaryFolder();
    ours = new FakeClock(folder.path, 'ours');
    its = new FakeClock(folder.path, 'its');
    gateway = await startGateway({ staysReachable: true, env: ours.env });
    await gateway.addGroup('far', { graceSeconds: 120 * 86_400, graceDecision: 'auto' });
    pump = new AgentProcess(folder.path, 'pump-1', its.env);
    await pump.enroll((await gateway.addDevice('pump-1', 'far')).joinUrl);
    await pump.connect();
    await pump.stop();
    oldRoot = parsePem(await readFile(pump.path('trust.pem'), 'utf8'), 'CERTIFICATE');
  });
  afterAll(async () => {
    await pump?.stop();
    await gateway?.dispose();
    await folder?.remove();
  });

  const status = () => gateway.operator.call<CaRolloverStatus>('showCaRollover');
  const replaced = async () =>
    (await status()).generations
      .filter(({ kind, state }) => kind === 'intermediate' && state === 'superseded')
      .map(({ keyId }) => keyId);
  const rollOver = (...args: string[]) => gateway.gatehouse('ca', 'rollover', ...args);

  /** The gateway goes on after so many days. */
  async function daysPass(days: number, meanwhile: () => Promise<void> = async () => {}): Promise<void> {
    await gateway.stop();
    await meanwhile();
    ours.runsAheadBy(days * DAY_MS);
    await gateway.restart();
  }

  test('comes back by itself: new anchors, its notices in their order, a certificate of the new CA', async () => {
    const before = await pump.certificate();
    const { noticeId } = await gateway.operator.call<RenewOrdered>('renewDevice', { params: ['pump-1'], body: {} });
    await daysPass(20);
    for (const kind of [[], ['--root']]) {
      await rollOver('prepare', ...kind);
      await rollOver('announce');
      await rollOver('activate');
    }
    // It would find no way back: it counts, although its certificate has expired.
    const superseded = await replaced();
    expect(superseded).toHaveLength(2);
    for (const keyId of superseded) {
      const tooEarly = await gateway.command('ca', 'rollover', 'retire', '--issuer', keyId);
      expect(tooEarly.stderr).toContain('1 of 1 device would be cut off');
    }

    const backup = join(folder.path, 'backup');
    await daysPass(40, () =>
      cp(gateway.dataDir, backup, { recursive: true, filter: (path) => !path.endsWith('.sock') }),
    );
    await gateway.addDevice('forgotten-1', 'far');
    await daysPass(60, async () => {
      await rm(gateway.dataDir, { recursive: true });
      await cp(backup, gateway.dataDir, { recursive: true });
    });

    its.set('2019-06-01T00:00:00Z');
    expect(await pump.status()).toMatchObject({ connected: false });
    await pump.connect();
    await pump.logged('trust anchors changed');
    const after = await pump.certificate();
    expect(after.serial).not.toBe(before.serial);
    const { generations } = await status();
    const active = generations.find(({ kind, state }) => kind === 'intermediate' && state === 'active');
    expect(after.authorityKeyId).toBe(active?.keyId);

    const device = await gateway.deviceSoon(
      'pump-1',
      'every notice to be answered',
      ({ notices }) =>
        notices.some(({ kind, state }) => kind === 'time' && state === 'done') &&
        notices.every(({ state }) => state === 'done' || state === 'expired'),
    );
    // The order ended with the certificate it was about.
    expect(device.notices.find(({ id }) => id === noticeId)).toMatchObject({ state: 'expired' });
    expect(device.session?.serial).toBe(after.serial);
    expect(await pump.status()).toMatchObject({ state: 'enrolled', connected: true });
    const anchors = parsePem(await readFile(pump.path('trust.pem'), 'utf8'), 'CERTIFICATE');
    expect(anchors).toHaveLength(2);
    await eventually('it to count as ready', status, ({ ready, devices }) => ready === devices);
  });

  test('lets the old CAs be retired after that, and drops the old root', async () => {
    for (const keyId of await replaced()) await rollOver('retire', '--issuer', keyId);
    await eventually(
      'the old root to be gone',
      async () => parsePem(await readFile(pump.path('trust.pem'), 'utf8'), 'CERTIFICATE'),
      (anchors) => anchors.length === 1 && !anchors.some((der) => oldRoot.some((old) => old.equals(der))),
      // A session that ends just then comes back after its back-off, and hears of it there.
    );
    await gateway.deviceSoon('pump-1', 'its session', ({ session }) => session !== null);
    expect(await pump.status()).toMatchObject({ state: 'enrolled' });
  });
});
