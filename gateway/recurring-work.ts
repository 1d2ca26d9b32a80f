import type { Log } from '#gateway/ports/log.ts';

/**
 * Work done again and again, never twice at a time; a failure is logged and the next turn comes as usual.
 * `stop` resolves when nothing is running any more.
 */
export class RecurringWork {
  readonly #log: Log;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #running = new Set<Promise<void>>();
  #stopped = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param every milliseconds between turns */
  add(name: string, every: number, work: () => Promise<void>): void {
    let busy = false;
    const turn = () => {
      if (busy || this.#stopped) return;
      busy = true;
      const running = work()
        .catch((error: unknown) => this.#log.error('recurring work failed', { name, error: String(error) }))
        .finally(() => {
          busy = false;
          this.#running.delete(running);
        });
      this.#running.add(running);
    };
    const timer = setInterval(turn, every);
    timer.unref();
    this.#timers.push(timer);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all(this.#running);
  }
}
