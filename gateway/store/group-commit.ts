import { StoreError, type Tables } from '#gateway/ports/store.ts';

/** The one connection that writes, as the group commit needs it. Each call has happened when it returns. */
export interface WriteConnection {
  begin(): void;
  /** Throws when the transaction may not be durable. */
  commit(): void;
  rollback(): void;
  savepoint(): void;
  releaseSavepoint(): void;
  /** Takes back what was written since the savepoint and drops it. */
  rollbackToSavepoint(): void;
  /** False also when the database itself took the transaction back, as SQLite may on a full disk. */
  readonly inTransaction: boolean;
}

/** Tables for one work; after `end` they refuse. */
type WorkTables = { tables: Tables; end(): void };

type GroupCommitOptions = {
  /** Most works that share one commit: bounds how long the event loop is held and how much one failed commit rejects. */
  batchSize: number;
  /** Milliseconds one work may take; past it the work is given up, since all other writers wait behind it. */
  workLimitMs: number;
};

type Work = (tables: Tables) => Promise<unknown>;
type Waiting = { work: Work; resolve: (value: unknown) => void; reject: (reason: unknown) => void };
type Outcome = { ok: true; value: unknown } | { ok: false; error: unknown };

/**
 * Works that wait at the same time share one commit: the flush to disk is what a small transaction costs. They run one
 * after the other, each inside its own savepoint, and settle only once the commit is decided, so that nobody acts on
 * what might yet be taken back. That holds for a work that fails, too: it may have failed over a row that another work
 * of the batch had written.
 */
export class GroupCommit {
  readonly #connection: WriteConnection;
  readonly #openTables: () => WorkTables;
  readonly #options: GroupCommitOptions;
  #waiting: Waiting[] = [];
  #draining: Promise<void> | undefined;
  #closed = false;

  constructor(connection: WriteConnection, openTables: () => WorkTables, options: GroupCommitOptions) {
    this.#connection = connection;
    this.#openTables = openTables;
    this.#options = options;
  }

  write<T>(work: (tables: Tables) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new StoreError('UNAVAILABLE', 'the store is closed'));
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as (value: unknown) => void, reject });
      this.#draining ??= this.#drain();
    });
  }

  /** Takes no more works and resolves when those that wait are settled. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#draining;
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Sockets get their turn, and everything that asks to write in this turn of the event loop shares the commit.
      await new Promise((resolve) => setImmediate(resolve));
      const batch = this.#waiting.splice(0, this.#options.batchSize);
      await this.#commitTogether(batch);
    }
    this.#draining = undefined;
  }

  async #commitTogether(batch: Waiting[]): Promise<void> {
    const outcomes: Outcome[] = [];
    try {
      this.#connection.begin();
      for (const { work } of batch) outcomes.push(await this.#runInSavepoint(work));
      this.#connection.commit();
    } catch (cause) {
      this.#takeBack();
      const error = new StoreError('UNAVAILABLE', `the transaction could not be committed: ${messageOf(cause)}`, {
        cause,
      });
      for (const { reject } of batch) reject(error);
      return;
    }
    for (const [i, { resolve, reject }] of batch.entries()) {
      const outcome = outcomes[i];
      if (outcome?.ok === true) resolve(outcome.value);
      else reject(outcome?.error);
    }
  }

  async #runInSavepoint(work: Work): Promise<Outcome> {
    this.#connection.savepoint();
    const outcome = await this.#runWithLimit(work);
    if (!this.#connection.inTransaction) {
      // The whole batch is gone with it, also what works before this one had written.
      throw outcome.ok ? new Error('the database took the transaction back') : outcome.error;
    }
    if (outcome.ok) this.#connection.releaseSavepoint();
    else this.#connection.rollbackToSavepoint();
    return outcome;
  }

  async #runWithLimit(work: Work): Promise<Outcome> {
    const scope = this.#openTables();
    const { workLimitMs } = this.#options;
    const outcome = await new Promise<Outcome>((resolve) => {
      const timer = setTimeout(() => {
        const error = new StoreError('UNAVAILABLE', `a transaction was given up after ${workLimitMs} ms`);
        resolve({ ok: false, error });
      }, workLimitMs);
      void (async () => {
        try {
          resolve({ ok: true, value: await work(scope.tables) });
        } catch (error) {
          resolve({ ok: false, error });
        } finally {
          clearTimeout(timer);
        }
      })();
    });
    scope.end();
    return outcome;
  }

  #takeBack(): void {
    try {
      if (this.#connection.inTransaction) this.#connection.rollback();
    } catch {
      // The error that brought us here says more. A transaction that is still open makes the next begin fail.
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
