import type { BenchStage } from './bench-stage.ts';
import type { Section } from './figure.ts';

/** How much of everything. `scale` shrinks the counts of a quick run, never below what gives a figure. */
export type BenchSettings = { rounds: number; scale: number };

export type Measurement = (stage: BenchStage, settings: BenchSettings) => Promise<Section>;

/** Things at once in the load: enough to keep a gateway busy, few enough that nobody waits for seconds. */
export const CONCURRENCY = 16;

export function scaled(count: number, { scale }: BenchSettings): number {
  return Math.max(20, Math.round(count * scale));
}
