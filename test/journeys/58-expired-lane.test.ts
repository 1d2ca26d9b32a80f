import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatKeyFingerprint } from '#gateway/contract/key-fingerprint.ts';
import type { AuditEvent, EnrollmentRequestSummary } from '#gateway/contract/operator-api.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { canFakeClocks, FakeClock } from '#test/fixtures/processes/fake-clock.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { temporaryFolder } from '#test/fixtures/processes/temporary-folder.ts';

const DAY_MS = 24 * 3600_000;

describe.skipIf(!canFakeClocks)('devices that come back after their certificates have expired', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let clock: FakeClock;
  let gateway: GatewayProcess;
  const agents = new Map<string, AgentProcess>();
  const agent = (deviceId: string) => {
    const made = agents.get(deviceId) ?? new AgentProcess(folder.path, deviceId, clock.env);
    agents.set(deviceId, made);
    return made;
  };

  /** Enrolled by a gateway that then goes on for ten days without them: their certificates lived for seven. */
  beforeAll(async () => {
    folder = await temporaryFolder();
    clock = new FakeClock(folder.path, 'everybody');
    gateway = await startGateway({ staysReachable: true, env: clock.env });
    await gateway.addGroup('open', { graceSeconds: 60 * 86_400, graceDecision: 'auto' });
    await gateway.addGroup('careful', { graceSeconds: 60 * 86_400, graceDecision: 'approval' });
    await gateway.addGroup('closed', { graceSeconds: 60 * 86_400, graceDecision: 'refuse' });
    const enroll = async (deviceId: string, group: string) =>
      agent(deviceId).enroll((await gateway.addDevice(deviceId, group)).joinUrl);
    await Promise.all([
      ...['open', 'careful', 'closed', 'default'].map((group) => enroll(`${group}-1`, group)),
      enroll('revoked-1', 'open'),
    ]);
    await gateway.gatehouse('device', 'revoke', 'revoked-1', '--reason', 'superseded');
    await gateway.stop();
    clock.runsAheadBy(10 * DAY_MS);
    await gateway.restart();
  });
  afterAll(async () => {
    await Promise.all([...agents.values()].map((each) => each.stop()));
    await gateway?.dispose();
    await folder?.remove();
  });

  const auditOf = async (deviceId: string) =>
    (await gateway.gatehouse<AuditEvent[]>('audit', 'list', '--device', deviceId)).map(({ action, code, detail }) => ({
      action,
      code,
      detail,
    }));

  test('re-enroll by themselves where the group says so and there is little to doubt', async () => {
    const before = await agent('open-1').certificate();
    expect(await agent('open-1').status()).toMatchObject({ state: 'expired', exitCode: 1 });
    await agent('open-1').connect();
    expect((await agent('open-1').certificate()).serial).not.toBe(before.serial);
    expect(await agent('open-1').status()).toMatchObject({ state: 'enrolled', connected: true });
    expect(await auditOf('open-1')).toContainEqual({
      action: 'enrollment.approved',
      code: null,
      detail: expect.stringMatching(
        /expired lane, score \d+: expired for \d+ s of 5184000 s, known network, proof software/,
      ),
    });
    // The sweep notes the end of the old one a moment later.
    await eventually(
      'the old one to count as expired',
      () => gateway.device('open-1'),
      ({ certificates }) =>
        certificates
          .map(({ state }) => state)
          .toSorted()
          .join() === 'active,expired',
    );
  });

  test('wait for a person where the group wants one, with the same key over restarts', async () => {
    const careful = agent('careful-1');
    careful.start();
    const requests = await eventually(
      'the request in the queue',
      () => gateway.gatehouse<EnrollmentRequestSummary[]>('enrollment', 'list'),
      (list) => list.length > 0,
    );
    expect(requests).toMatchObject([
      { deviceId: 'careful-1', grounds: expect.stringMatching(/^expired:/), reason: expect.stringContaining('score') },
    ]);
    // The gateway knows before the device does.
    expect(await careful.statusSoon('that it waits', ({ waiting }) => waiting !== null)).toMatchObject({
      state: 'expired',
      waiting: { attemptId: requests[0]?.id, keyFingerprint: formatKeyFingerprint(requests[0]?.spkiSha256 ?? '') },
      advice: expect.stringContaining('have it approved'),
    });
    await careful.stop();
    await gateway.gatehouse('enrollment', 'approve', requests[0]?.id ?? '');
    await careful.connect();
    expect(await careful.status()).toMatchObject({ state: 'enrolled', connected: true, waiting: null });
    expect(await gateway.gatehouse('enrollment', 'list')).toHaveLength(0);
  });

  test.each(['closed-1', 'default-1', 'revoked-1'])('are refused otherwise: %s', async (deviceId) => {
    const refused = agent(deviceId);
    const daemon = refused.start();
    await daemon.logged('renewal failed', { code: 'GATEWAY_REFUSED' });
    expect(await refused.status()).toMatchObject({ connected: false });
    expect(await gateway.device(deviceId)).toMatchObject({
      certificates: [{ state: deviceId === 'revoked-1' ? 'revoked' : 'expired' }],
    });
    await refused.stop();
  });
});
