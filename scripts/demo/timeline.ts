import { styleText } from 'node:util';
import { ExpectationError } from './expectation.ts';

export type TimelineStep = {
  number: number;
  title: string;
  ok: boolean;
  /** Milliseconds since the demo began. */
  at: number;
  /** Milliseconds the step took. */
  ms: number;
  /** What was seen and verified. */
  facts: readonly string[];
  failure?: { message: string; expected?: string; found?: string };
};

/** Times stand in one column behind the titles. */
const TITLE_WIDTH = 56;

/** The numbered steps of the demo: each does something, verifies it, and is shown with its times. */
export class Timeline {
  readonly steps: TimelineStep[] = [];
  /** What this machine cannot show, and why. */
  readonly leftOut: string[] = [];
  readonly #start = performance.now();
  readonly #isShown: boolean;

  /** @param isShown false: nothing is printed, for `--json` */
  constructor(isShown: boolean) {
    this.#isShown = isShown;
  }

  /**
   * @param work does the step, throws when it is not as it should be, returns what it verified
   * @throws what `work` threw, after it has been recorded and shown
   */
  async step(title: string, work: () => Promise<readonly string[]>): Promise<void> {
    const number = this.steps.length + 1;
    const at = performance.now() - this.#start;
    if (this.#isShown && process.stdout.isTTY) process.stdout.write(`${head(number, '…')}  ${title}`);
    try {
      const facts = await work();
      this.#finish({ number, title, ok: true, at, ms: this.#since(at), facts });
    } catch (error) {
      const failure = {
        message: error instanceof Error ? error.message : String(error),
        ...(error instanceof ExpectationError ? { expected: error.expected, found: error.found } : {}),
      };
      this.#finish({ number, title, ok: false, at, ms: this.#since(at), facts: [], failure });
      throw error;
    }
  }

  /** A line in place of a step that cannot be done here. */
  leaveOut(why: string): void {
    this.leftOut.push(why);
    if (this.#isShown) process.stdout.write(`      ${style('yellow', '-')}  ${why}\n`);
  }

  #since(at: number): number {
    return performance.now() - this.#start - at;
  }

  #finish(step: TimelineStep): void {
    this.steps.push({ ...step, at: Math.round(step.at), ms: Math.round(step.ms) });
    if (!this.#isShown) return;
    if (process.stdout.isTTY) process.stdout.write('\r\u001b[2K');
    const mark = step.ok ? style('green', '✓') : style('red', '✗');
    const times = `${formatSeconds(step.at).padStart(8)}  +${formatSeconds(step.ms)}`;
    process.stdout.write(
      `${head(step.number, mark)}  ${style('bold', step.title.padEnd(TITLE_WIDTH))}${style('dim', times)}\n`,
    );
    for (const fact of step.facts) process.stdout.write(`         ${fact}\n`);
  }
}

function head(number: number, mark: string): string {
  return `  ${String(number).padStart(2)}  ${mark}`;
}

function style(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { stream: process.stdout });
}

/** @param ms milliseconds */
export function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
