import { join } from 'node:path';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import { PROJECT_ROOT } from '#scripts/command-line/project-root.ts';
import { runCommand } from '#scripts/demo/run-command.ts';
import { tpmEnvironment } from '#scripts/tpm/missing-tpm-parts.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import type { TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import { median, rounded } from './statistics.ts';

/** Takes nothing but keys in the TPM of a pinned maker. */
export const ATTESTED_GROUP = 'bench-attested';
const ENROLLMENTS = 5;
const AGENT = join(PROJECT_ROOT, 'device-agent', 'main.ts');

/** State folders of one device each; `tpm` is the TPM of the first. */
export type EnrolledPair = { tpm: SoftwareTpm; tpmState: string; softwareState: string };

/** @param certificates DER */
export async function pinMaker(stage: BenchStage, certificates: readonly Buffer[]): Promise<void> {
  for (const der of certificates)
    await stage.operator.call('addTpmRoot', { body: { certificate: der.toString('base64') } });
}

/** The agent process from its start to its end with the certificate stored, each time on a TPM fresh from its maker. */
export async function measureTpmEnrollment(
  stage: BenchStage,
  maker: TpmMaker,
): Promise<{ figures: Figure[]; enrolled: EnrolledPair }> {
  const inTpm: number[] = [];
  const inFile: number[] = [];
  let enrolled: EnrolledPair | undefined;
  for (let turn = 1; turn <= ENROLLMENTS; turn += 1) {
    const tpm = await maker.makeTpm();
    const softwareState = join(stage.folder, `enroll-software-${turn}`);
    inFile.push(await timeEnrollment(stage, `bench-file-${turn}`, 'default', softwareState, ['--key', 'software']));
    const tpmState = join(stage.folder, `enroll-tpm-${turn}`);
    const key = ['--key', 'tpm', '--tcti', tpm.tcti];
    inTpm.push(await timeEnrollment(stage, `bench-tpm-${turn}`, ATTESTED_GROUP, tpmState, key));
    // The last one goes on to the next measurement.
    await enrolled?.tpm.powerCut();
    enrolled = { tpm, tpmState, softwareState };
  }
  if (!enrolled) throw new RangeError('no enrollment was measured');
  const figure: Figure = {
    name: 'attested enrollment, agent start to stored',
    value: median(inTpm),
    unit: 'ms',
    rounds: inTpm.map(rounded),
    peer: { name: 'a key in a file', value: median(inFile) },
    note: `median of ${ENROLLMENTS}, each on a new TPM; ${rounded(Math.min(...inTpm))} to ${rounded(Math.max(...inTpm))} ms`,
  };
  return { figures: [figure], enrolled };
}

async function timeEnrollment(
  stage: BenchStage,
  deviceId: string,
  group: string,
  state: string,
  key: readonly string[],
): Promise<number> {
  const { joinUrl } = await stage.operator.call<DeviceAdded>('addDevice', { body: { deviceId, group } });
  const args = [AGENT, 'enroll', joinUrl, '--no-confirm', '--state', state, ...key];
  const startedAt = performance.now();
  const result = await runCommand(process.execPath, args, { env: tpmEnvironment() });
  const took = performance.now() - startedAt;
  if (result.exitCode !== 0) throw new Error(`${deviceId} could not enroll: ${result.stderr.trim()}`);
  return took;
}
