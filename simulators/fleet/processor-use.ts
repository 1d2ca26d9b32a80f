import { readFile } from 'node:fs/promises';

/** Milliseconds of processor time since the start of each process. */
export type ProcessorReading = { own: number; gateway: number | undefined };

/** Linux counts in ticks of 10 ms on every supported machine (USER_HZ). */
const TICK_MS = 10;

/** `/proc/PID/stat`: user and system time, fields 14 and 15. The name in field 2 may hold spaces and brackets. */
export function parseProcessorTime(stat: string): number | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return Number.isFinite(ticks) ? ticks * TICK_MS : undefined;
}

/** Who was at work tells who was the bottleneck. The gateway's time without its authority, a process of its own. */
export async function readProcessorTime(gatewayPid: number): Promise<ProcessorReading> {
  const { user, system } = process.cpuUsage();
  const stat = await readFile(`/proc/${gatewayPid}/stat`, 'utf8').catch(() => undefined);
  return { own: (user + system) / 1000, gateway: stat === undefined ? undefined : parseProcessorTime(stat) };
}
