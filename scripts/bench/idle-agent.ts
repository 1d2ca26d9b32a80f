import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import { runCommand } from '#scripts/demo/run-command.ts';
import type { BenchStage } from './bench-stage.ts';
import { collectGarbage } from './collect-garbage.ts';
import { type Memory, memoryOf, processorMs } from './process-facts.ts';

/** Long enough for the work after the connect to end. */
const SETTLE_MS = 3000;
const CONNECT_MS = 20_000;

/** The inspector opens only when asked by SIGUSR1. */
const INSPECTABLE = '--inspect-port=127.0.0.1:0';

export type IdleAgent = Memory & { connectedAfterMs: number; idleProcessorMs: number };

/**
 * Enrolls a device with the real agent program, runs it, and reads it once it is connected and idle.
 * @param special `enroll`: more arguments of that command; `collect`: garbage is collected before memory is read
 */
export async function measureIdleAgent(
  stage: BenchStage,
  deviceId: string,
  program: string,
  special: { group?: string; enroll?: readonly string[]; env?: NodeJS.ProcessEnv; collect?: boolean } = {},
): Promise<IdleAgent> {
  const { group, enroll = [], env = process.env, collect = false } = special;
  const state = join(stage.folder, deviceId);
  const { joinUrl } = await stage.operator.call<DeviceAdded>('addDevice', {
    body: { deviceId, ...(group === undefined ? {} : { group }) },
  });
  const enrolled = await runCommand(process.execPath, [program, 'enroll', joinUrl, '--state', state, ...enroll], {
    env,
  });
  if (enrolled.exitCode !== 0) throw new Error(`the agent could not enroll: ${enrolled.stderr.trim()}`);
  const startedAt = performance.now();
  const child = spawn(process.execPath, [...(collect ? [INSPECTABLE] : []), program, 'run', '--state', state], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env,
  });
  const said: string[] = [];
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    const connectedAfterMs = await new Promise<number>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the agent did not connect')), CONNECT_MS);
      createInterface({ input: child.stderr }).on('line', (line) => {
        said.push(line);
        if (!line.includes('"message":"connected"')) return;
        clearTimeout(timer);
        resolve(performance.now() - startedAt);
      });
    });
    const pid = child.pid ?? 0;
    await wait(SETTLE_MS);
    const before = await processorMs(pid);
    await wait(SETTLE_MS / 3);
    const idleProcessorMs = (await processorMs(pid)) - before;
    if (collect) await collectGarbage(pid, () => said);
    return { ...(await memoryOf(pid)), connectedAfterMs, idleProcessorMs };
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
}
