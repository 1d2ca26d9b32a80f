import { join } from 'node:path';
import { PROJECT_ROOT } from '#scripts/command-line/project-root.ts';
import { describeMissing, missingTpmParts, tpmEnvironment } from '#scripts/tpm/missing-tpm-parts.ts';
import { createTpmMaker, type TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import type { Measurement } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import { type IdleAgent, measureIdleAgent } from './idle-agent.ts';
import { measureAttestedRates } from './measure-attested-rates.ts';
import { ATTESTED_GROUP, measureTpmEnrollment, pinMaker } from './measure-tpm-enrollment.ts';
import { measureTpmHandshakes } from './measure-tpm-handshakes.ts';
import type { Memory } from './process-facts.ts';
import { median } from './statistics.ts';

/**
 * Keys in TPMs. On a software TPM, with the real agent: the whole enrollment, TLS handshakes, memory. With TPMs in
 * memory, so many at once that the gateway is what is measured: attested enrollments it can judge.
 */
export const measureTpm: Measurement = async (stage, settings) => {
  await stage.operator.call('addGroup', { body: { name: ATTESTED_GROUP, policy: { proof: 'tpm-endorsed' } } });
  const missing = missingTpmParts();
  const figures = missing.length > 0 ? [] : await measureSoftwareTpm(stage);
  figures.push(...(await measureAttestedRates(stage, settings)));
  return {
    name: 'Keys in a TPM (agent on swtpm; gateway with TPMs in memory)',
    figures,
    ...(missing.length === 0 ? {} : { skipped: describeMissing('the agent on a software TPM', missing) }),
  };
};

async function measureSoftwareTpm(stage: BenchStage): Promise<Figure[]> {
  const maker = await createTpmMaker();
  try {
    await pinMaker(stage, [await maker.root(), await maker.issuer()]);
    const { figures, enrolled } = await measureTpmEnrollment(stage, maker);
    return [...figures, ...(await measureTpmHandshakes(stage, enrolled)), await measureAddedMemory(stage, maker)];
  } finally {
    await maker.dispose();
  }
}

/** Pairs of agents that run at the same time; what a heap holds at a moment is partly chance. */
const PAIRS = 3;

async function measureAddedMemory(stage: BenchStage, maker: TpmMaker): Promise<Figure> {
  const program = join(PROJECT_ROOT, 'device-agent', 'main.ts');
  const running: Promise<[IdleAgent, IdleAgent]>[] = [];
  for (let pair = 1; pair <= PAIRS; pair += 1) {
    const { tcti } = await maker.makeTpm();
    const inTpm = { group: ATTESTED_GROUP, enroll: ['--key', 'tpm', '--tcti', tcti], env: tpmEnvironment() };
    running.push(
      Promise.all([
        measureIdleAgent(stage, `bench-idle-file-${pair}`, program, { collect: true }),
        measureIdleAgent(stage, `bench-idle-tpm-${pair}`, program, { collect: true, ...inTpm }),
      ]),
    );
  }
  const pairs = await Promise.all(running);
  const [software, inTpm] = [medianMemory(pairs.map(([one]) => one)), medianMemory(pairs.map(([, other]) => other))];
  return {
    name: 'agent, idle and connected: a key in the TPM adds',
    value: inTpm.anonymousMib - software.anonymousMib,
    unit: 'MiB',
    note: `anonymous ${inTpm.anonymousMib.toFixed(1)} against ${software.anonymousMib.toFixed(1)} MiB, resident ${inTpm.residentMib.toFixed(1)} against ${software.residentMib.toFixed(1)}; after garbage collection, inspector included; medians of ${PAIRS}`,
  };
}

function medianMemory(agents: readonly Memory[]): { anonymousMib: number; residentMib: number } {
  return {
    anonymousMib: median(agents.map(({ anonymousKib }) => anonymousKib)) / 1024,
    residentMib: median(agents.map(({ residentKib }) => residentKib)) / 1024,
  };
}
