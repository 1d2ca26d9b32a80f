import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Store } from '#gateway/ports/store.ts';

export type LeaseDeps = { store: Pick<Store, 'write'>; clock: Pick<Clock, 'now'>; log: Log };

export type LeaseOptions = {
  /** This process among those on the same database. */
  holder: string;
  /** Milliseconds, 60 000 unless given, after which the work of a process that has died is taken up by another. */
  lifeMs?: number;
};

const LEASE_LIFE_MS = 60_000;

/**
 * Work that one process does for all those on a database: whoever has its lease. Kept from one turn to the next, so
 * that a turn costs no write of its own, and kept up while a turn takes long.
 */
export class WorkLeases {
  readonly #deps: LeaseDeps;
  readonly #holder: string;
  readonly #lifeMs: number;
  readonly #until = new Map<string, number>();

  constructor(deps: LeaseDeps, { holder, lifeMs = LEASE_LIFE_MS }: LeaseOptions) {
    this.#deps = deps;
    this.#holder = holder;
    this.#lifeMs = lifeMs;
  }

  /** @returns work that does nothing while another process has the lease of this name. */
  only(name: string, work: () => Promise<void>): () => Promise<void> {
    return async () => void (await this.run(name, work));
  }

  /** @returns false when another process has the lease of this name, and nothing was done. */
  async run(name: string, work: () => Promise<void>): Promise<boolean> {
    if (!(await this.#hold(name))) return false;
    const keeping = setInterval(() => void this.#keep(name), this.#lifeMs / 4);
    try {
      await work();
    } finally {
      clearInterval(keeping);
    }
    return true;
  }

  /** At a clean end: others need not wait. */
  async release(): Promise<void> {
    const names = [...this.#until.keys()];
    this.#until.clear();
    if (names.length === 0) return;
    await this.#deps.store.write(async (tables) => {
      for (const name of names) await tables.leases.release(name, this.#holder);
    });
  }

  async #hold(name: string): Promise<boolean> {
    const now = this.#deps.clock.now();
    const left = (this.#until.get(name) ?? now) - now;
    // A clock that was set back must not make it last longer than it was asked for.
    if (left > this.#lifeMs / 2 && left <= this.#lifeMs) return true;
    const until = now + this.#lifeMs;
    const isMine = await this.#deps.store.write((tables) => tables.leases.acquire(name, this.#holder, now, until));
    if (isMine) this.#until.set(name, until);
    else this.#until.delete(name);
    return isMine;
  }

  async #keep(name: string): Promise<void> {
    try {
      const isMine = await this.#hold(name);
      if (!isMine) this.#deps.log.warn('another process took over work that is not finished', { name });
    } catch (error) {
      this.#deps.log.error('a lease could not be kept', { name, error });
    }
  }
}
