import type { Arrivals, LoadResult } from '#scripts/bench/load-jobs.ts';
import { type ThreadTime, watchMainThread } from '#scripts/bench/process-facts.ts';
import { ConnectionLost } from './connection-lost.ts';

/** What became of one that came. `sentAt`: when its request went out, of the clock of performance.now(). */
export type Reception = { outcome: 'granted' } | { outcome: 'refused'; sentAt: number };

const TICK_MS = 2;
/** Of the time: until then the queues fill. */
const RAMP = 0.3;

/**
 * Somebody comes every 1/perSecond, whether the ones before have been served or not, as a fleet does. Times count from
 * when each was due: one that the load process itself is late with has waited as well.
 * @param watch a process whose main thread is watched while the load is steady
 */
export async function arriveEvenly(
  { perSecond, seconds, watch }: { perSecond: number; seconds: number; watch: number },
  receive: () => Promise<Reception>,
): Promise<LoadResult & { arrivals: Arrivals; watched: ThreadTime }> {
  const total = Math.round(perSecond * seconds);
  const latencies: number[] = [];
  const arrivals: Arrivals = {
    offeredPerSecond: perSecond,
    granted: 0,
    seconds: Number.NaN,
    refusedMeanwhile: 0,
    refused: [],
    refusedSinceSent: [],
    lost: 0,
  };
  let failed = 0;
  let firstFailure: string | null = null;
  const startedAt = performance.now();
  const steadyFrom = startedAt + seconds * RAMP * 1000;
  // As it went, not as it was planned: a load process that is late makes the window longer or shorter.
  let steadySince: number | undefined;
  let isSteady = false;
  const one = async (number: number): Promise<void> => {
    const dueAt = startedAt + (number / perSecond) * 1000;
    try {
      const reception = await receive();
      const now = performance.now();
      if (reception.outcome === 'granted') {
        latencies.push(now - dueAt);
        if (isSteady) arrivals.granted += 1;
      } else {
        arrivals.refused.push(now - dueAt);
        arrivals.refusedSinceSent.push(now - reception.sentAt);
        if (isSteady) arrivals.refusedMeanwhile += 1;
      }
    } catch (error) {
      if (error instanceof ConnectionLost) {
        arrivals.lost += 1;
        return;
      }
      failed += 1;
      firstFailure ??= error instanceof Error ? error.message : String(error);
    }
  };
  const all: Promise<void>[] = [];
  let watched: ThreadTime = { ranMs: Number.NaN, waitedMs: Number.NaN };
  let sinceSteady: (() => ThreadTime) | undefined;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * perSecond) + 1);
      while (all.length < due) all.push(one(all.length));
      if (steadySince === undefined && performance.now() >= steadyFrom) {
        steadySince = performance.now();
        isSteady = true;
        sinceSteady = watchMainThread(watch);
      }
      if (all.length < total) return;
      // The last one has just come; the first came at the start.
      const took = (performance.now() - startedAt) / 1000;
      if (total > 1) arrivals.offeredPerSecond = Math.min(perSecond, (total - 1) / took);
      watched = sinceSteady?.() ?? watched;
      isSteady = false;
      if (steadySince !== undefined) arrivals.seconds = (performance.now() - steadySince) / 1000;
      clearInterval(timer);
      resolve();
    }, TICK_MS);
  });
  await Promise.all(all);
  return {
    count: latencies.length,
    failed,
    firstFailure,
    seconds: (performance.now() - startedAt) / 1000,
    latencies,
    arrivals,
    watched,
  };
}
