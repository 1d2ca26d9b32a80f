import type { Clock } from '#device-agent/ports/clock.ts';
import type { Log } from '#device-agent/ports/log.ts';
import { formatAgentState } from './agent-report.ts';
import type { FactBook } from './fact-book.ts';
import type { Identity } from './identity.ts';
import type { ReportCounter } from './report-counter.ts';

export type StateSources = {
  /** undefined: there is no session now, and nothing to be said on. */
  identity: () => Identity | undefined;
  nextRenewalAt: () => number | null;
  /** SHA-256 of the anchors in use, hex. */
  anchors: () => string[];
  publish: (payload: string) => Promise<void>;
};

/** Tells the gateway how this device is. Reports follow each other: their counts arrive as they were taken. */
export class StateReporter {
  readonly #deps: { clock: Clock; log: Log; facts: FactBook; counter: ReportCounter };
  readonly #sources: StateSources;
  #reporting: Promise<void> = Promise.resolve();

  constructor(deps: { clock: Clock; log: Log; facts: FactBook; counter: ReportCounter }, sources: StateSources) {
    this.#deps = deps;
    this.#sources = sources;
  }

  /** Never rejects: what could not be said is said by the next one. */
  report(): Promise<void> {
    this.#reporting = this.#reporting.then(() => this.#reportNow());
    return this.#reporting;
  }

  async #reportNow(): Promise<void> {
    const { clock, log, facts, counter } = this.#deps;
    const identity = this.#sources.identity();
    if (identity === undefined) return;
    const state = formatAgentState(identity, {
      connected: true,
      clock: clock.now(),
      nextRenewalAt: this.#sources.nextRenewalAt(),
      hook: facts.facts.hook,
      rolledBack: facts.facts.rolledBack,
      run: counter.run,
      count: await counter.next(),
      anchors: this.#sources.anchors(),
    });
    try {
      await this.#sources.publish(JSON.stringify(state));
    } catch (error) {
      log.debug('state not reported', { reason: String(error) });
    }
  }
}
