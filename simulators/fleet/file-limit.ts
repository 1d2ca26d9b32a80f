import { readFile } from 'node:fs/promises';
import { SimulatorError } from '#simulators/simulator-error.ts';

/** During a renewal a device has its session, its EST connection and the session that proves the new certificate. */
const SOCKETS_PER_DEVICE = 3;
/** Node itself, the database, logs, the operator connections. */
const OWN_FILES = 200;

export function filesNeeded(devices: number): number {
  return devices * SOCKETS_PER_DEVICE + OWN_FILES;
}

/** The soft limit in the text of `/proc/self/limits`; undefined when there is none or it cannot be read. */
export function parseOpenFilesLimit(limits: string): number | undefined {
  const soft = /^Max open files\s+(\d+|unlimited)\s/m.exec(limits)?.[1];
  return soft === undefined || soft === 'unlimited' ? undefined : Number(soft);
}

/** @throws SimulatorError TOO_FEW_FILES with what to type. Where the limit cannot be read nothing is refused. */
export async function requireOpenFiles(devices: number): Promise<void> {
  const limit = parseOpenFilesLimit(await readFile('/proc/self/limits', 'utf8').catch(() => ''));
  const needed = filesNeeded(devices);
  if (limit === undefined || limit >= needed) return;
  const fitting = Math.max(0, Math.floor((limit - OWN_FILES) / SOCKETS_PER_DEVICE));
  throw new SimulatorError(
    'TOO_FEW_FILES',
    `${devices} devices need about ${needed} open files; this process may have ${limit}`,
    { advice: `type \`ulimit -n ${needed}\` first (for the gateway too), or simulate at most ${fitting} devices` },
  );
}
