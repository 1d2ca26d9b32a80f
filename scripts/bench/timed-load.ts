import type { LoadResult } from './load-jobs.ts';
import type { LoadProcess } from './load-process.ts';
import { processorMs } from './process-facts.ts';

export type Timed = LoadResult & {
  perSecond: number;
  /** Processor milliseconds that each thing cost the processes under load. */
  serverMs: number;
  /** The same in the load process: when it is near the wall time, it was the bottleneck. */
  loadMs: number;
};

/** Runs a job of the load process and reads what it cost whom. @param pids processes under load */
export async function timeLoad<Job extends { kind: string }, Result extends LoadResult>(
  load: LoadProcess<Job, Result>,
  pids: readonly number[],
  job: Job,
): Promise<Timed> {
  const read = async () => ({
    server: sum(await Promise.all(pids.map(processorMs))),
    load: await processorMs(load.pid),
  });
  const before = await read();
  const result = await load.run(job);
  const after = await read();
  return {
    ...result,
    perSecond: result.count / result.seconds,
    serverMs: (after.server - before.server) / result.count,
    loadMs: (after.load - before.load) / result.count,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
