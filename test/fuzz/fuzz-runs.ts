import * as fc from 'fast-check';
import { vi } from 'vitest';

/**
 * How long the property tests of this folder look.
 *
 * - `GATEHOUSE_FUZZ_RUNS=100 vitest run test/fuzz` multiplies the runs of every property (and the inputs sent to the
 *   doors): seconds by default, for the working day; a factor of some hundreds for a night.
 * - Every run draws its own seed. A failure prints it (`{ seed: 123, path: ... }`) with the smallest input found;
 *   `GATEHOUSE_FUZZ_SEED=123` plays the same inputs again.
 */
export const FUZZ_FACTOR = positive(process.env['GATEHOUSE_FUZZ_RUNS']) ?? 1;
const seed = positive(process.env['GATEHOUSE_FUZZ_SEED']);

// One property takes well under a second; this bounds what a hang costs, and grows with the runs asked for.
vi.setConfig({ testTimeout: 30_000 * FUZZ_FACTOR, hookTimeout: 60_000 * FUZZ_FACTOR });

/** Holds for `runs` inputs (times the factor), or throws with seed, path and the smallest input that breaks it. */
export function holdsFor<T>(runs: number, inputs: fc.Arbitrary<T>, property: (input: T) => void): void {
  // What an assertion returns is none of fast-check's business.
  fc.assert(
    fc.property(inputs, (input) => {
      property(input);
    }),
    parameters(runs),
  );
}

/** The same for a property that has to wait. */
export async function holdsForAsync<T>(
  runs: number,
  inputs: fc.Arbitrary<T>,
  property: (input: T) => Promise<void>,
): Promise<void> {
  await fc.assert(fc.asyncProperty(inputs, property), parameters(runs));
}

function parameters<T>(runs: number): fc.Parameters<T> {
  return { numRuns: Math.ceil(runs * FUZZ_FACTOR), ...(seed === undefined ? {} : { seed }) };
}

function positive(text: string | undefined): number | undefined {
  const number = Number(text);
  return number > 0 ? number : undefined;
}
