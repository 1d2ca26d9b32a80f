import type { LoadResult } from '#scripts/bench/load-jobs.ts';
import { watchMainThread } from '#scripts/bench/process-facts.ts';

/**
 * Does the work for every item, `concurrency` at once, and times each and all. What fails is counted, not thrown.
 * @param watch a process whose main thread is watched meanwhile
 */
export async function runLoad<T>(
  items: readonly T[],
  concurrency: number,
  work: (item: T, lane: number) => Promise<void>,
  watch?: number,
): Promise<LoadResult> {
  const latencies: number[] = [];
  let failed = 0;
  let firstFailure: string | null = null;
  let next = 0;
  const watched = watch === undefined ? undefined : watchMainThread(watch);
  const startedAt = performance.now();
  const lane = async (number: number) => {
    while (next < items.length) {
      const item = items[next] as T;
      next += 1;
      const begun = performance.now();
      try {
        await work(item, number);
        latencies.push(performance.now() - begun);
      } catch (error) {
        failed += 1;
        firstFailure ??= error instanceof Error ? error.message : String(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, (_, number) => lane(number)));
  const seconds = (performance.now() - startedAt) / 1000;
  const result = { count: latencies.length, failed, firstFailure, seconds, latencies };
  return watched === undefined ? result : { ...result, watched: watched() };
}
