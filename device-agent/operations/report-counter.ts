import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';

type ReportCounterDeps = { store: StateStore; randomness: Randomness; log: Log };

/**
 * By this the gateway tells one device that lives from two that live from copies of one disk: a count that is on the
 * disk before it is sent, and the name of this run, which ends with the process.
 */
export class ReportCounter {
  readonly #deps: ReportCounterDeps;
  readonly run: string;
  #count: number;

  private constructor(deps: ReportCounterDeps, count: number) {
    this.#deps = deps;
    this.#count = count;
    this.run = deps.randomness.bytes(8).toString('hex');
  }

  static async open(deps: ReportCounterDeps): Promise<ReportCounter> {
    return new ReportCounter(deps, parseCount(await deps.store.readRecord('reports')));
  }

  /** @returns undefined when the disk did not take it: said and then forgotten it would look like a copy's. */
  async next(): Promise<number | undefined> {
    try {
      await this.#deps.store.writeRecord('reports', { version: 1, count: this.#count + 1 });
      this.#count += 1;
      return this.#count;
    } catch (error) {
      this.#deps.log.warn('the count of reports could not be written', { error: String(error) });
      return undefined;
    }
  }
}

function parseCount(value: unknown): number {
  const { version, count } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  return version === 1 && typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? count : 0;
}
