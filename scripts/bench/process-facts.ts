import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

/** Linux counts processor time in ticks of 10 ms on every supported machine (USER_HZ). */
const TICK_MS = 10;

/** Milliseconds of processor time of a process, all its threads. */
export async function processorMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Milliseconds that a thread has run, and that it could have run but another had the processor. */
export type ThreadTime = { ranMs: number; waitedMs: number };

/**
 * Of the main thread since it began, to the nanosecond; NaN where the kernel does not count it. Synchronous: it is read
 * in the middle of load.
 */
export function mainThreadTime(pid: number): ThreadTime {
  try {
    const [ran, waited] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ');
    return { ranMs: Number(ran) / 1e6, waitedMs: Number(waited) / 1e6 };
  } catch {
    return { ranMs: Number.NaN, waitedMs: Number.NaN };
  }
}

/** @returns how to learn what it has been since */
export function watchMainThread(pid: number): () => ThreadTime {
  const before = mainThreadTime(pid);
  return () => {
    const after = mainThreadTime(pid);
    return { ranMs: after.ranMs - before.ranMs, waitedMs: after.waitedMs - before.waitedMs };
  };
}

export type Memory = { residentKib: number; anonymousKib: number };

/** Anonymous pages are the process's own; the rest of the resident ones are files, shared and reclaimable. */
export async function memoryOf(pid: number): Promise<Memory> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? Number.NaN);
  return { residentKib: kib('Rss'), anonymousKib: kib('Anonymous') };
}

/** The processes that a process has started and that still run. */
export async function childrenOf(pid: number): Promise<number[]> {
  const found: number[] = [];
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const children = await readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '');
    found.push(...children.split(' ').filter(Boolean).map(Number));
  }
  return found;
}
