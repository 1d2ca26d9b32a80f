import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import { spkiSha256 as spkiSha256Of } from '#ca/pkix/public-key.ts';
import type { EnrollmentRequestSummary } from '#gateway/contract/operator-api.ts';
import { claimFor } from '#test/fixtures/processes/agent-detours.ts';
import type { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { canFakeClocks, FakeClock } from '#test/fixtures/processes/fake-clock.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';
import { temporaryFolder } from '#test/fixtures/processes/temporary-folder.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe.skipIf(lacksTpmTls() || !canFakeClocks)('a device with a TPM whose approval takes its time', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let clock: FakeClock;
  let plant: TpmPlant;
  let ahead = 0;
  beforeAll(async () => {
    folder = await temporaryFolder();
    clock = new FakeClock(folder.path, 'everybody');
    plant = await startTpmPlant({ staysReachable: true, env: clock.env });
    // A ticket is over long before the person decides.
    await plant.gateway.addGroup('careful', { proof: 'tpm-endorsed', approval: 'manual', ticketSeconds: 3600 });
  });
  afterAll(async () => {
    await plant?.dispose();
    await folder?.remove();
  });

  function later(ms: number): void {
    ahead += ms;
    clock.runsAheadBy(ahead);
  }

  async function newAgent(deviceId: string) {
    const [tpm, { joinUrl }] = await Promise.all([plant.maker.makeTpm(), plant.gateway.addDevice(deviceId, 'careful')]);
    return { agent: plant.agent(deviceId, clock.env), joinUrl, key: ['--key', 'tpm', '--tcti', tpm.tcti] };
  }

  /** Started, and told to wait. */
  async function waiting(agent: AgentProcess, ...args: string[]): Promise<RunningProcess> {
    const process = new RunningProcess('enroll', agent.argumentsOf('enroll', ...args), { env: clock.env });
    await process.until('that it waits', () => process.log.find(({ text }) => text.startsWith('…')));
    return process;
  }

  async function requestOf(deviceId: string): Promise<EnrollmentRequestSummary> {
    const list = await plant.gateway.operator.list<EnrollmentRequestSummary>('listEnrollmentRequests');
    const [request, more] = list.filter((one) => one.deviceId === deviceId && one.state === 'waiting');
    if (request === undefined || more !== undefined) throw new Error(`not one request of ${deviceId} waits`);
    return request;
  }

  async function restart(): Promise<void> {
    await plant.gateway.kill9();
    await plant.gateway.restart();
  }

  async function approve(deviceId: string): Promise<void> {
    const { id, proofLevel } = await requestOf(deviceId);
    expect(proofLevel).toBe('tpm-endorsed');
    await plant.gateway.gatehouse('enrollment', 'approve', id);
  }

  async function expectEnrolled(agent: AgentProcess, spkiSha256: string): Promise<void> {
    const certificate = await agent.certificate();
    // Of the key that a person has seen.
    expect(spkiSha256Of(certificate.publicKey)).toBe(spkiSha256);
    expect(readProofLevel(certificate)).toBe('tpm-endorsed');
    const device = await plant.gateway.device(agent.deviceId);
    expect(device).toMatchObject({ state: 'enrolled', proofLevel: 'tpm-endorsed' });
    const own = device.certificates.filter(({ profile }) => profile === 'device');
    expect(own).toMatchObject([{ serial: certificate.serial, state: 'active' }]);
  }

  test('gets its certificate over EST hours later: agent and gateway started again, challenge and ticket over', async () => {
    const { agent, joinUrl, key } = await newAgent('press-est');
    const first = await waiting(agent, joinUrl, ...key);
    const { spkiSha256 } = await requestOf('press-est');
    await first.kill9();
    later(3 * HOUR);
    await restart();
    // Once more before the decision: it still waits, as the same request.
    const second = await waiting(agent, joinUrl, ...key);
    await second.kill9();
    await approve('press-est');
    later(HOUR);
    await restart();
    await agent.ok('enroll', joinUrl, ...key);
    await expectEnrolled(agent, spkiSha256);
  });

  test('gets it over MQTT hours later, with a claim of a new ticket: the approval is for the key', async () => {
    const { agent, key } = await newAgent('press-claim');
    const first = await waiting(agent, '--via', 'mqtt', await claimFor(plant.gateway, 'press-claim'), ...key);
    const { spkiSha256 } = await requestOf('press-claim');
    await first.kill9();
    await approve('press-claim');
    later(3 * HOUR);
    await restart();
    await plant.gateway.gatehouse('device', 'add', 'press-claim', '--new-ticket');
    await agent.ok('enroll', '--via', 'mqtt', await claimFor(plant.gateway, 'press-claim', 'second'), ...key);
    await expectEnrolled(agent, spkiSha256);
  });

  describe('that goes on asking, also past the end of its challenge and a kill of the gateway,', () => {
    type Asker = { agent: AgentProcess; process: RunningProcess; spkiSha256: string };
    const askers = new Map<string, Asker>();
    // Side by side: over EST half a minute has to pass before it may ask again.
    beforeAll(async () => {
      for (const via of ['est', 'mqtt']) {
        const deviceId = `press-asks-${via}`;
        const { agent, joinUrl, key } = await newAgent(deviceId);
        const how = via === 'est' ? [joinUrl] : ['--via', 'mqtt', await claimFor(plant.gateway, deviceId)];
        const process = await waiting(agent, ...how, ...key);
        askers.set(via, { agent, process, spkiSha256: (await requestOf(deviceId)).spkiSha256 });
      }
      later(20 * MINUTE);
      await restart();
      for (const { agent } of askers.values()) await approve(agent.deviceId);
    });

    test.each(['mqtt', 'est'])('gets it over %s', async (via) => {
      const { agent, process, spkiSha256 } = askers.get(via) as Asker;
      expect(await process.ended, process.told()).toMatchObject({ code: 0 });
      await expectEnrolled(agent, spkiSha256);
    });
  });
});
