import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { PhaseName } from './plan-phases.ts';
import type { ProcessorReading } from './processor-use.ts';

export type Latency = { p50: number; p90: number; p99: number; max: number };

export type Failure = {
  code: string;
  count: number;
  /** What the first one said. */
  example: string;
  /** Ids of the first attempts, as the gateway's log and audit show them; device ids where there was no attempt. */
  first: string[];
};

export type PhaseResult = {
  name: PhaseName;
  /** Devices for which the phase was done. */
  count: number;
  failed: number;
  /** Attempts that failed and were made again by the device itself, as agents do. */
  repeated: number;
  /** Why, and how many for each reason; most first. */
  repeatedBecause: { reason: string; count: number }[];
  seconds: number;
  perSecond: number;
  /** Most devices done within one second of the phase. */
  peakPerSecond: number;
  /** Milliseconds per device; null when nothing was timed. */
  latencyMs: Latency | null;
  /** Milliseconds of processor time per device: who was the bottleneck. null where it is not known. */
  processorMs: { simulator: number; gateway: number | null } | null;
  failures: Failure[];
};

const LONGEST_US = 3_600_000_000;
const FIRST_IDS = 5;

/** Counts and times one phase. Times are milliseconds of a monotonic clock that the caller reads. */
export class PhaseRecorder {
  readonly name: PhaseName;
  readonly total: number;
  readonly #startedAt: number;
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: LONGEST_US, figures: 3 });
  readonly #failures = new Map<string, Failure>();
  readonly #bySecond = new Map<number, number>();
  readonly #now: () => number;
  #done = 0;
  #timed = 0;
  #failed = 0;
  readonly #repeats = new Map<string, number>();

  constructor(name: PhaseName, total: number, startedAt: number, now: () => number = () => performance.now()) {
    this.#now = now;
    this.name = name;
    this.total = total;
    this.#startedAt = startedAt;
  }

  get done(): number {
    return this.#done;
  }

  get failed(): number {
    return this.#failed;
  }

  /** @param latencyMs left out when there is nothing to time, as for devices that only stay. */
  recordDone(latencyMs?: number): void {
    this.#done += 1;
    const second = Math.floor((this.#now() - this.#startedAt) / 1000);
    this.#bySecond.set(second, (this.#bySecond.get(second) ?? 0) + 1);
    if (latencyMs === undefined) return;
    this.#timed += 1;
    this.#histogram.record(Math.min(LONGEST_US, Math.max(1, Math.round(latencyMs * 1000))));
  }

  /** @param id the attempt, or the device. */
  recordFailure(code: string, message: string, id: string): void {
    this.#failed += 1;
    const failure = this.#failures.get(code) ?? { code, count: 0, example: message, first: [] };
    failure.count += 1;
    if (failure.first.length < FIRST_IDS) failure.first.push(id);
    this.#failures.set(code, failure);
  }

  recordRepeat(reason: string): void {
    this.#repeats.set(reason, (this.#repeats.get(reason) ?? 0) + 1);
  }

  /** @param processor readings at the start of the phase and now. */
  finish(now: number, processor?: { before: ProcessorReading; after: ProcessorReading }): PhaseResult {
    const seconds = Math.max(now - this.#startedAt, 0.001) / 1000;
    return {
      name: this.name,
      count: this.#done,
      failed: this.#failed,
      repeated: [...this.#repeats.values()].reduce((sum, count) => sum + count, 0),
      repeatedBecause: [...this.#repeats]
        .map(([reason, count]) => ({ reason, count }))
        .toSorted((a, b) => b.count - a.count),
      seconds: round(seconds),
      perSecond: round(this.#done / seconds),
      peakPerSecond: Math.max(0, ...this.#bySecond.values()),
      latencyMs: this.#timed === 0 ? null : this.#latency(),
      processorMs: processor === undefined || this.#timed === 0 ? null : this.#processor(processor),
      failures: [...this.#failures.values()].toSorted((a, b) => b.count - a.count),
    };
  }

  #processor({ before, after }: { before: ProcessorReading; after: ProcessorReading }) {
    const gateway =
      before.gateway === undefined || after.gateway === undefined
        ? null
        : (after.gateway - before.gateway) / this.#done;
    return {
      simulator: round((after.own - before.own) / this.#done),
      gateway: gateway === null ? null : round(gateway),
    };
  }

  #latency(): Latency {
    const at = (percentile: number) => round(this.#histogram.percentile(percentile) / 1000);
    return { p50: at(50), p90: at(90), p99: at(99), max: round(this.#histogram.max / 1000) };
  }
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
