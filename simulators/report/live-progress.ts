import cliProgress from 'cli-progress';
import type { PhaseRecorder, PhaseResult } from '#simulators/fleet/phase-recorder.ts';
import type { FleetProgress } from '#simulators/fleet/run-fleet.ts';

const PLAIN_EVERY_MS = 5000;

/** A bar per phase on a terminal, else a line now and then: both on stderr, so that stdout stays the result. */
export function createProgress(stream: NodeJS.WriteStream): FleetProgress {
  return stream.isTTY ? new ProgressBars(stream) : new ProgressLines((line) => stream.write(`${line}\n`));
}

class ProgressBars implements FleetProgress {
  readonly #stream: NodeJS.WriteStream;
  #bar: cliProgress.SingleBar | undefined;
  #startedAt = 0;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  begin(recorder: PhaseRecorder): void {
    this.#startedAt = performance.now();
    this.#bar = new cliProgress.SingleBar(
      {
        stream: this.#stream,
        format: '{phase} [{bar}] {value}/{total}  {rate}/s  {problems}',
        barsize: 28,
        hideCursor: true,
        clearOnComplete: false,
        // Ctrl-C is ours: the results so far are still to come.
        gracefulExit: false,
        emptyOnZero: true,
      },
      cliProgress.Presets.rect,
    );
    this.#bar.start(recorder.total, 0, { phase: recorder.name.padEnd(9), rate: '-', problems: '' });
  }

  advance(recorder: PhaseRecorder): void {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    this.#bar?.update(recorder.done + recorder.failed, {
      rate: seconds < 0.05 ? '-' : Math.round(recorder.done / seconds),
      problems: recorder.failed === 0 ? '' : `${recorder.failed} failed`,
    });
  }

  finish(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

/** For logs and pipes. Exported for its tests. */
export class ProgressLines implements FleetProgress {
  readonly #write: (line: string) => void;
  readonly #now: () => number;
  #toldAt = 0;

  constructor(write: (line: string) => void, now: () => number = () => performance.now()) {
    this.#write = write;
    this.#now = now;
  }

  begin({ name, total }: PhaseRecorder): void {
    this.#toldAt = this.#now();
    this.#write(`${name}: ${total} devices ...`);
  }

  advance({ name, done, failed, total }: PhaseRecorder): void {
    const now = this.#now();
    if (now - this.#toldAt < PLAIN_EVERY_MS) return;
    this.#toldAt = now;
    this.#write(`${name}: ${done + failed} of ${total}${failed === 0 ? '' : `, ${failed} failed`}`);
  }

  finish({ name, count, failed, seconds }: PhaseResult): void {
    this.#write(`${name}: ${count} done${failed === 0 ? '' : `, ${failed} failed`} in ${seconds.toFixed(2)} s`);
  }
}
