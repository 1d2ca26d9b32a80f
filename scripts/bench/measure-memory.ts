import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { PROJECT_ROOT } from '#scripts/command-line/project-root.ts';
import { runCommand } from '#scripts/demo/run-command.ts';
import { CONCURRENCY, type Measurement, scaled } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import { collectGarbage } from './collect-garbage.ts';
import type { Figure } from './figure.ts';
import { measureIdleAgent } from './idle-agent.ts';
import type { Target } from './load-jobs.ts';
import { type Memory, memoryOf } from './process-facts.ts';

/** For what follows a connect: session rows, reports, buffers given back. */
const SETTLE_MS = 1500;

/** Resident and anonymous memory of an idle agent, and what one idle session adds to each broker. */
export const measureMemory: Measurement = async (stage, settings) => {
  const sessions = scaled(500, settings);
  const deviceIds = await stage.devices(sessions);
  const collect = () => collectGarbage(stage.gatewayPid, () => stage.gatewayTail);
  const gateway = await perSession(stage, stage.mqtt, stage.gatewayPid, deviceIds, collect);
  const broker = await stage.startMosquitto({ noDelay: true });
  const mosquitto =
    broker && (await perSession(stage, { ...stage.mqtt, port: broker.port }, broker.pid, deviceIds, async () => {}));
  stage.release(deviceIds);
  return {
    name: `Memory (anonymous pages are the process's own; resident ones hold shared files too)`,
    figures: [
      ...(await agentFigures(stage)),
      {
        name: `gateway, one of ${sessions} idle sessions`,
        value: gateway.anonymousKib,
        unit: 'KiB anonymous',
        ...(mosquitto ? { peer: { name: 'Mosquitto', value: mosquitto.anonymousKib } } : {}),
        note: `resident ${gateway.residentKib.toFixed(1)} KiB${mosquitto ? `, Mosquitto's ${mosquitto.residentKib.toFixed(1)}` : ''}; after garbage collection`,
      },
      {
        name: 'gateway without sessions',
        value: gateway.base.anonymousKib / 1024,
        unit: 'MiB anonymous',
        note: mib(gateway.base),
      },
    ],
    ...(mosquitto ? {} : { skipped: 'Mosquitto is not installed (Debian package mosquitto)' }),
  };
};

async function agentFigures(stage: BenchStage): Promise<Figure[]> {
  const build = await runCommand(process.execPath, [join(PROJECT_ROOT, 'scripts', 'build-agent.ts')]);
  if (build.exitCode !== 0) throw new Error(`the agent could not be bundled: ${build.stderr.trim()}`);
  const programs = {
    bundle: join(PROJECT_ROOT, 'dist', 'gatehouse-agent.mjs'),
    plain: join(PROJECT_ROOT, 'device-agent', 'main.ts'),
  };
  const figures: Figure[] = [];
  for (const [kind, program] of Object.entries(programs)) {
    const agent = await measureIdleAgent(stage, `bench-agent-${kind}`, program);
    figures.push({
      name: `agent, idle and connected (${kind})`,
      value: agent.anonymousKib / 1024,
      unit: 'MiB anonymous',
      note: `${mib(agent)}; connected ${agent.connectedAfterMs.toFixed(0)} ms after its start; ${agent.idleProcessorMs} ms of processor in one idle second`,
    });
  }
  return figures;
}

function mib({ residentKib }: Memory): string {
  return `resident ${(residentKib / 1024).toFixed(1)} MiB`;
}

/** @param collect has the process give up what it no longer needs. */
async function perSession(
  stage: BenchStage,
  target: Target,
  pid: number,
  deviceIds: string[],
  collect: () => Promise<void>,
): Promise<Memory & { base: Memory }> {
  const hold = { kind: 'hold', target, deviceIds, subscribe: false, concurrency: CONCURRENCY } as const;
  const settle = async () => {
    await wait(SETTLE_MS);
    await collect();
    return memoryOf(pid);
  };
  // Not measured: what the first few leave behind for good, such as compiled code. Few, since memory that many sessions
  // have given back would hide the next ones.
  await stage.load.run({ ...hold, deviceIds: deviceIds.slice(0, CONCURRENCY) });
  await stage.load.run({ kind: 'release' });
  const base = await settle();
  await stage.load.run(hold);
  const full = await settle();
  await stage.load.run({ kind: 'release' });
  return {
    anonymousKib: (full.anonymousKib - base.anonymousKib) / deviceIds.length,
    residentKib: (full.residentKib - base.residentKib) / deviceIds.length,
    base,
  };
}
