/**
 * Runs the work for every item, at most `limit` at once, in order of the items. Work that has begun is always waited
 * for; once the signal is aborted nothing new begins. `work` must not reject: what fails is for it to record.
 */
export async function runBounded<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      if (signal?.aborted === true) return;
      const index = next;
      next += 1;
      await work(items[index] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
}
