import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  AttemptDetail,
  AuditEvent,
  DeviceDetail,
  EnrollmentRequestSummary,
} from '#gateway/contract/operator-api.ts';
import { blockEst, claimFor } from '#test/fixtures/processes/agent-detours.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { canFakeClocks, FakeClock } from '#test/fixtures/processes/fake-clock.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { temporaryFolder } from '#test/fixtures/processes/temporary-folder.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

const DAY_MS = 24 * 3600_000;
const GRACE = 60 * 86_400;

const auditOf = (gateway: GatewayProcess, deviceId: string) =>
  gateway.gatehouse<AuditEvent[]>('audit', 'list', '--device', deviceId);

const ownStates = ({ certificates }: DeviceDetail) =>
  certificates.filter(({ profile }) => profile === 'device').map(({ state }) => state);

describe.skipIf(!canFakeClocks)(
  'devices that reach the MQTT door alone and were off past the end of their certificates',
  () => {
    let folder: Awaited<ReturnType<typeof temporaryFolder>>;
    let clock: FakeClock;
    let stopped: FakeClock;
    let gateway: GatewayProcess;
    const agents = new Map<string, AgentProcess>();
    const agent = (deviceId: string) => {
      const made = agents.get(deviceId) ?? new AgentProcess(folder.path, deviceId, clock.env);
      agents.set(deviceId, made);
      return made;
    };

    /** Twenty-five days without them: their certificates lived for seven, that of the gateway was replaced meanwhile. */
    beforeAll(async () => {
      folder = await temporaryFolder();
      clock = new FakeClock(folder.path, 'everybody');
      stopped = new FakeClock(folder.path, 'stopped');
      gateway = await startGateway({ staysReachable: true, env: clock.env });
      await gateway.addGroup('open', { graceSeconds: GRACE, graceDecision: 'auto' });
      await gateway.addGroup('careful', { graceSeconds: GRACE, graceDecision: 'approval' });
      await gateway.addGroup('closed', { graceSeconds: GRACE, graceDecision: 'refuse' });
      agents.set('late-1', new AgentProcess(folder.path, 'late-1', stopped.env));
      const enroll = async (deviceId: string, group: string) => {
        await gateway.addDevice(deviceId, group);
        const claim = await claimFor(gateway, deviceId);
        await agent(deviceId).ok('enroll', '--via', 'mqtt', claim, '--renew-via', 'mqtt');
        await blockEst(agent(deviceId));
      };
      for (const [deviceId, group] of [
        ['open-1', 'open'],
        ['killed-1', 'open'],
        ['late-1', 'open'],
        ['careful-1', 'careful'],
        ['closed-1', 'closed'],
        ['default-1', 'default'],
        ['revoked-1', 'open'],
      ] as const)
        await enroll(deviceId, group);
      await gateway.gatehouse('device', 'revoke', 'revoked-1', '--reason', 'superseded');
      await gateway.stop();
      clock.runsAheadBy(25 * DAY_MS);
      await gateway.restart();
    });
    afterAll(async () => {
      await Promise.all([...agents.values()].map((each) => each.stop()));
      await gateway?.dispose();
      await folder?.remove();
    });

    test('come back by themselves where the group says so and there is little to doubt', async () => {
      const before = await agent('open-1').certificate();
      expect(await agent('open-1').status()).toMatchObject({ state: 'expired', exitCode: 1 });
      await agent('open-1').connect();
      const after = await agent('open-1').certificate();
      expect(after.serial).not.toBe(before.serial);
      expect(after.publicKey).not.toEqual(before.publicKey);
      const status = await agent('open-1').status();
      expect(status).toMatchObject({
        state: 'enrolled',
        connected: true,
        lastAttempt: { outcome: 'issued', via: 'mqtt' },
      });
      const device = await gateway.deviceSoon('open-1', 'its session', ({ session }) => session !== null);
      expect(device.session).toMatchObject({ serial: after.serial });
      const attempt = await gateway.gatehouse<AttemptDetail>('attempt', 'show', status.lastAttempt?.id ?? '');
      expect(attempt).toMatchObject({ door: 'mqtt', kind: 'reenroll', outcome: 'issued' });
      const audit = await auditOf(gateway, 'open-1');
      expect(audit.find(({ action }) => action === 'enrollment.approved')?.detail).toMatch(
        /expired lane, score \d+: expired for \d+ s of 5184000 s, known network, proof software/,
      );
      expect(
        audit.find(({ action, code }) => action === 'session.refused' && code === 'CERTIFICATE_EXPIRED'),
      ).toBeDefined();
      await gateway.logged('enrollment session opened', { deviceId: 'open-1', grounds: 'expired' });
      await gateway.logged('enrollment session closed', { deviceId: 'open-1', grounds: 'expired' });
    });

    test('get one certificate, and not two, when the gateway is killed as it answers', async () => {
      const mark = gateway.mark();
      const daemon = agent('killed-1').start();
      await gateway.logged('certificate issued', { deviceId: 'killed-1' }, mark);
      await gateway.kill9();
      await gateway.restart();
      await daemon.logged('connected');
      // The sweep books the end of the old one at its own time.
      const device = await gateway.deviceSoon('killed-1', 'its session, and the end of the old certificate', (now) => {
        return now.session !== null && ownStates(now).includes('expired');
      });
      expect(ownStates(device).toSorted()).toEqual(['active', 'expired']);
    });

    test('come back also with a clock that stopped when they were switched off', async () => {
      const late = agent('late-1');
      // By it the certificate of the gateway has yet to begin, and that of the device has days to go.
      expect(await late.status()).toMatchObject({ state: 'enrolled' });
      const daemon = late.start();
      await daemon.logged('the clock of this device seems to be late');
      await daemon.logged('connected');
      expect(await late.status()).toMatchObject({ state: 'enrolled', connected: true, lastAttempt: { via: 'mqtt' } });
    });

    test('wait for a person where the group wants one, with the same key over restarts, and are told at once', async () => {
      const careful = agent('careful-1');
      careful.start();
      const requests = await eventually(
        'the request in the queue',
        () => gateway.gatehouse<EnrollmentRequestSummary[]>('enrollment', 'list'),
        (list) => list.length > 0,
      );
      expect(requests).toMatchObject([
        { deviceId: 'careful-1', door: 'mqtt', grounds: expect.stringMatching(/^expired:/) },
      ]);
      await careful.statusSoon('that it waits', ({ waiting }) => waiting?.attemptId === requests[0]?.id);
      await careful.stop();
      const daemon = careful.start();
      await daemon.logged('waiting for approval');
      await gateway.gatehouse('enrollment', 'approve', requests[0]?.id ?? '');
      await daemon.logged('connected');
      expect(await careful.status()).toMatchObject({ state: 'enrolled', connected: true, waiting: null });
      expect(await gateway.gatehouse('enrollment', 'list')).toHaveLength(0);
    });

    test.each([
      ['closed-1', /expired lane, score \d+/],
      ['default-1', /CONNACK 5.*has ended/],
      ['revoked-1', /CONNACK 5.*has ended/],
    ])('are refused otherwise, and say so: %s', async (deviceId, message) => {
      const refused = agent(deviceId);
      const daemon = refused.start();
      await daemon.logged('renewal failed', { code: 'GATEWAY_REFUSED' });
      const status = await refused.statusSoon('why', ({ lastError }) => message.test(lastError?.message ?? ''));
      expect(status).toMatchObject({
        state: 'expired',
        connected: false,
        advice: expect.stringContaining('--replace'),
      });
      const { certificates } = await gateway.device(deviceId);
      expect(certificates.filter(({ profile }) => profile === 'device')).toMatchObject([
        { state: deviceId === 'revoked-1' ? 'revoked' : 'expired' },
      ]);
      await refused.stop();
    });
  },
);

describe.skipIf(!canFakeClocks || lacksTpmTls())('a device with a TPM that reaches the MQTT door alone', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let clock: FakeClock;
  let plant: TpmPlant;
  beforeAll(async () => {
    folder = await temporaryFolder();
    clock = new FakeClock(folder.path, 'everybody');
    plant = await startTpmPlant(
      { staysReachable: true, env: clock.env },
      { graceSeconds: GRACE, graceDecision: 'auto' },
    );
  });
  afterAll(async () => {
    await plant?.dispose();
    await folder?.remove();
  });

  test('proves its next key and comes back', async () => {
    const tpm = await plant.maker.makeTpm();
    await plant.gateway.addDevice('sealed-1', 'endorsed');
    const sealed = plant.agent('sealed-1');
    const claim = await claimFor(plant.gateway, 'sealed-1');
    await sealed.ok('enroll', '--via', 'mqtt', claim, '--key', 'tpm', '--tcti', tpm.tcti, '--renew-via', 'mqtt');
    await blockEst(sealed);
    const before = await sealed.certificate();
    await plant.gateway.stop();
    clock.runsAheadBy(10 * DAY_MS);
    await plant.gateway.restart();
    expect(await sealed.status()).toMatchObject({ state: 'expired' });
    await sealed.start().logged('connected');
    const after = await sealed.certificate();
    expect(after.publicKey).not.toEqual(before.publicKey);
    expect(await sealed.status()).toMatchObject({ state: 'enrolled', proofLevel: 'tpm-endorsed' });
    const audit = await auditOf(plant.gateway, 'sealed-1');
    const approved = audit.find(({ action }) => action === 'enrollment.approved');
    expect(approved?.detail).toMatch(/expired lane, score \d+: .*proof tpm-endorsed/);
  });
});
