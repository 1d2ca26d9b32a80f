import type { Log } from '#gateway/ports/log.ts';
import { type Store, StoreError, type Tables } from '#gateway/ports/store.ts';

type Work = (tables: Tables) => Promise<void>;

export type BackgroundWriteOptions = {
  /** How long a work may wait for others, milliseconds: what a crash can lose, and how seldom the disk is waited for. */
  delayMs: number;
  /** Most works that share a write: bounds how long it holds up the writers behind it. */
  batchSize: number;
};

/**
 * Writes that nobody waits for. A commit holds the event loop until the disk has answered, so in a reconnect storm the
 * records of many sessions share one. Works run in the order in which they came.
 */
export class BackgroundWrites {
  readonly #store: Pick<Store, 'write'>;
  readonly #log: Log;
  readonly #options: BackgroundWriteOptions;
  #waiting: Work[] = [];
  #timer: NodeJS.Timeout | undefined;
  #draining: Promise<void> | undefined;

  constructor(deps: { store: Pick<Store, 'write'>; log: Log }, options: BackgroundWriteOptions) {
    this.#store = deps.store;
    this.#log = deps.log;
    this.#options = options;
  }

  /** Never throws; a work that fails is in the log. */
  add(work: Work): void {
    this.#waiting.push(work);
    if (this.#waiting.length >= this.#options.batchSize) void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), this.#options.delayMs);
  }

  /** Resolves when everything added so far is written, or lost and in the log. To be called before the store closes. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // A drain that goes on takes what came meanwhile, too: never two, or a session could end before it has opened.
    if (this.#draining === undefined && this.#waiting.length > 0) this.#draining = this.#drain();
    return this.#draining ?? Promise.resolve();
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#options.batchSize);
      try {
        await this.#store.write(async (tables) => {
          for (const work of batch) await work(tables);
        });
      } catch (error) {
        // It failed over the store, and may yet be there: a second time could end a session before it began.
        if (isUnavailable(error) || batch.length === 1) this.#lost(error, batch.length);
        // One of them took the others back with it: each on its own, the good ones are kept.
        else await Promise.all(batch.map((work) => this.#writeAlone(work)));
      }
    }
    this.#draining = undefined;
  }

  async #writeAlone(work: Work): Promise<void> {
    try {
      await this.#store.write(work);
    } catch (error) {
      this.#lost(error, 1);
    }
  }

  #lost(error: unknown, count: number): void {
    this.#log.error('records lost', { count, error: String(error) });
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'UNAVAILABLE';
}
