import type { AttemptDetail } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';

type Step = AttemptDetail['steps'][number];

/** Longest detail kept of a step. */
const MAX_DETAIL = 300;

/** What an attempt went through, in order, with the time each step was over. */
export class AttemptSteps {
  readonly #clock: Clock;
  readonly #started: number;
  readonly #steps: Step[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#started = clock.monotonic();
  }

  /**
   * Runs one step under its name; a refusal is noted and goes on to the caller. A step inside another one that failed
   * has said why already.
   */
  async run<T>(step: string, work: () => T | Promise<T>, detailOf?: (result: T) => string | null): Promise<T> {
    try {
      const result = await work();
      this.#note(step, 'ok', detailOf?.(result) ?? null);
      return result;
    } catch (error) {
      if (this.#steps.at(-1)?.outcome !== 'refused' && this.#steps.at(-1)?.outcome !== 'waiting') {
        const isWaiting = error instanceof GatewayError && error.code === 'APPROVAL_PENDING';
        const detail = error instanceof GatewayError ? error.message : 'failed on our side, see the log';
        this.#note(step, isWaiting ? 'waiting' : 'refused', detail);
      }
      throw error;
    }
  }

  #note(step: string, outcome: Step['outcome'], detail: string | null): void {
    this.#steps.push({ step, outcome, detail: detail?.slice(0, MAX_DETAIL) ?? null, after: this.milliseconds() });
  }

  /** Since the attempt began, to a tenth. */
  milliseconds(): number {
    return Math.round((this.#clock.monotonic() - this.#started) * 10) / 10;
  }

  list(): Step[] {
    return [...this.#steps];
  }
}
