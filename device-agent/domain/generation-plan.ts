/** What the folders under `generations/` mean. A generation is one key and the certificate made for it. */
export type GenerationPlan = {
  current: number | undefined;
  /** Newer than the current one: asked for (no certificate yet) or not yet proven in a session. */
  candidate: number | undefined;
  /** Kept until the next switch, for people: the agent itself never goes back behind a proven switch. */
  previous: number | undefined;
  /** Left over; removed once the current one has had a session. */
  surplus: number[];
};

/** @param numbers those of usable generations. A `current` that is not among them counts as none. */
export function planGenerations(numbers: number[], currentNumber: number | undefined): GenerationPlan {
  const sorted = numbers.toSorted((a, b) => a - b);
  const current = currentNumber !== undefined && sorted.includes(currentNumber) ? currentNumber : undefined;
  const candidate = sorted.filter((n) => current === undefined || n > current).at(-1);
  const previous = current === undefined ? undefined : sorted.filter((n) => n < current).at(-1);
  return {
    current,
    candidate,
    previous,
    surplus: sorted.filter((n) => n !== current && n !== candidate && n !== previous),
  };
}
