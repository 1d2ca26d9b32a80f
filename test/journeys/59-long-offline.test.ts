import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RenewOrdered } from '#gateway/contract/operator-api.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { canFakeClocks, FakeClock } from '#test/fixtures/processes/fake-clock.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { temporaryFolder } from '#test/fixtures/processes/temporary-folder.ts';

const DAY_MS = 24 * 3600_000;

describe.skipIf(!canFakeClocks)('a gateway that was restored from an older copy', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let clock: FakeClock;
  let gateway: GatewayProcess;
  let pump: AgentProcess;
  let copy: string;
  beforeAll(async () => {
    folder = await temporaryFolder();
    copy = join(folder.path, 'copy');
    clock = new FakeClock(folder.path, 'everybody');
    gateway = await startGateway({ staysReachable: true, env: clock.env });
    await gateway.addGroup('far', { graceSeconds: 60 * 86_400, graceDecision: 'auto' });
    pump = new AgentProcess(folder.path, 'pump-1', clock.env);
    await pump.enroll((await gateway.addDevice('pump-1', 'far')).joinUrl);
    await pump.connect();
  });
  afterAll(async () => {
    await pump?.stop();
    await gateway?.dispose();
    await folder?.remove();
  });

  const order = () => gateway.operator.call<RenewOrdered>('renewDevice', { params: ['pump-1'], body: {} });

  /** @returns seq of the notice */
  async function renewedByNotice(): Promise<number> {
    const { noticeId } = await order();
    const { notices } = await gateway.deviceSoon('pump-1', 'the notice to be obeyed', (device) =>
      device.notices.some(({ id, state }) => id === noticeId && state === 'done'),
    );
    return notices.find(({ id }) => id === noticeId)?.seq ?? 0;
  }

  async function copyStore(): Promise<void> {
    const mark = pump.daemon.mark();
    await gateway.stop();
    await rm(copy, { recursive: true, force: true });
    await cp(gateway.dataDir, copy, { recursive: true, filter: (path) => !path.endsWith('.sock') });
    await gateway.restart();
    // It would come by itself, within the pause that grew while the gateway was away.
    pump.daemon.signal('SIGHUP');
    await pump.logged('connected', {}, mark);
  }

  async function restore(): Promise<void> {
    await gateway.stop();
    await rm(gateway.dataDir, { recursive: true });
    await cp(copy, gateway.dataDir, { recursive: true });
  }

  test('takes back the device whose newest certificate it does not know, and its notices still count', async () => {
    await renewedByNotice();
    await copyStore();
    const seen = await renewedByNotice();
    const { serial: forgotten } = await pump.certificate();
    await restore();
    await gateway.restart();
    pump.daemon.signal('SIGHUP');
    await pump.logged('switched back to the certificate before', { refused: forgotten });
    const mark = pump.daemon.mark();
    // First it tries the forgotten one once more; the order is not answered by that.
    expect(await renewedByNotice()).toBeGreaterThan(seen);
    await pump.logged('certificate renewed', {}, mark);
  });

  test('takes it back also when that was ten days ago, by the certificate before, expired as well', async () => {
    await copyStore();
    await renewedByNotice();
    await pump.stop();
    await restore();
    clock.runsAheadBy(10 * DAY_MS);
    await gateway.restart();
    await pump.connect();
    await pump.logged('asking with the certificate before');
    expect(await pump.status()).toMatchObject({ state: 'enrolled', connected: true });
    await renewedByNotice();
  });
});
