import { readdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import type { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { PROGRAMS } from '#test/fixtures/processes/program.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(lacksTpmTls())('a device whose key lives in its TPM', () => {
  let plant: TpmPlant;

  beforeAll(async () => {
    plant = await startTpmPlant();
  });
  afterEach(() => plant?.stopAgents());
  afterAll(() => plant?.dispose());

  test('completes an enrollment that was killed at every step, with the same ticket and one attestation key', async () => {
    const tpm = await plant.maker.makeTpm();
    const before = await tpm.handles('persistent');
    const added = await plant.gateway.addDevice('killed', 'endorsed');
    const agent = plant.agent('killed');
    const span = await undisturbed();
    for (const step of [1, 2, 3, 4]) await killAfter(agent, added, tpm, `✓ ${step}/7`, 0);
    // The challenge, its opening and the certification all lie between the key and the certificate.
    let kills = 0;
    for (let ms = span / 40; await killAfter(agent, added, tpm, '✓ 4/7', ms); ms += span / 15) kills += 1;
    expect(kills).toBeGreaterThan(2);
    await agent.enroll(added.joinUrl, '--key', 'tpm', '--tcti', tpm.tcti);
    await agent.connect();
    expect(await plant.gateway.device('killed')).toMatchObject({ state: 'enrolled', proofLevel: 'tpm-endorsed' });
    const made = (await tpm.handles('persistent')).filter((handle) => !before.includes(handle));
    expect(made.filter((handle) => handle !== '0x81000001')).toHaveLength(1);
  });

  /** Milliseconds from the key to the end of an enrollment of another device, on this machine now. */
  async function undisturbed(): Promise<number> {
    const tpm = await plant.maker.makeTpm();
    const { joinUrl } = await plant.gateway.addDevice('left-alone', 'endorsed');
    const args = ['enroll', joinUrl, '--key', 'tpm', '--tcti', tpm.tcti];
    const enrollment = agentProgram(plant.agent('left-alone'), args);
    await enrollment.until('the key', () => enrollment.log.find(({ text }) => text.startsWith('✓ 4/7')));
    const began = performance.now();
    expect(await enrollment.ended).toMatchObject({ code: 0 });
    return performance.now() - began;
  }

  test('has a working identity after a renewal that was killed at any moment', async () => {
    const { agent, tpm } = await plant.enroll('renewals');
    const began = performance.now();
    await agent.ok('renew');
    // However fast this machine is now: from when the program has begun to after it should have ended.
    const whole = performance.now() - began;
    for (const share of [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]) {
      const renewal = agentProgram(agent, ['renew']);
      const ended = await Promise.race([renewal.ended, delay(share * whole)]);
      if (ended === undefined) await renewal.kill9();
    }
    await agent.connect();
    await agent.ok('renew');
    await agent.stop();
    expect(await tpm.handles('transient')).toEqual([]);
    expect(await readdir(agent.stateDir)).not.toContain('tpm-work');
  });
});

/** @returns false when the enrollment was faster. */
async function killAfter(
  agent: AgentProcess,
  { joinUrl }: DeviceAdded,
  tpm: SoftwareTpm,
  line: string,
  ms: number,
): Promise<boolean> {
  const enrollment = agentProgram(agent, ['enroll', joinUrl, '--key', 'tpm', '--tcti', tpm.tcti]);
  const said = enrollment.until(line, () => enrollment.log.find(({ text }) => text.startsWith(line)));
  const isThere = await Promise.race([said.then(() => true), enrollment.ended.then(() => false)]);
  said.catch(() => {});
  if (!isThere) return false;
  const ending = await Promise.race([enrollment.ended, delay(ms)]);
  if (ending !== undefined) return false;
  await enrollment.kill9();
  return true;
}

function agentProgram(agent: AgentProcess, args: string[]): RunningProcess {
  return new RunningProcess(`agent ${agent.deviceId}`, [PROGRAMS.agent, ...args, '--state', agent.stateDir]);
}
