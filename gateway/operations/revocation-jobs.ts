import type { RevocationJob } from '#gateway/domain/revocation-job.ts';
import type { RevokeDeps } from './revoke-device.ts';
import { runRevocationJob } from './run-revocation-job.ts';

/** At most this many jobs are looked for at once; more wait for their turn. */
const MOST_JOBS = 50;

/**
 * The jobs this process works on, each at most once. A job belongs to whoever holds its lease: one whose process died
 * is taken up again by whichever looks next.
 */
export class RevocationJobs {
  readonly #deps: RevokeDeps;
  readonly #holder: string;
  readonly #running = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();

  /** @param holder this process among those on the same database: whoever comes after it on its folder need not wait */
  constructor(deps: RevokeDeps, holder = deps.random.id('w')) {
    this.#deps = deps;
    this.#holder = holder;
  }

  /** Works on every running job that nobody else works on. Does not wait for their end. */
  async takeUp(): Promise<void> {
    const jobs = await this.#deps.store.read.revocationJobs.list({ state: 'running', limit: MOST_JOBS });
    for (const job of jobs) void this.work(job);
  }

  /** Resolves when this process has nothing more to do with the job now. Never rejects. */
  work(job: Pick<RevocationJob, 'id'>): Promise<void> {
    const { id } = job;
    const running = this.#running.get(id);
    if (running !== undefined || this.#stopping.signal.aborted) return running ?? Promise.resolve();
    const run = runRevocationJob(this.#deps, { id, holder: this.#holder, stopping: this.#stopping.signal })
      .catch((error: unknown) =>
        this.#deps.log.error('revocation broke off and will be taken up again', { job: id, error: String(error) }),
      )
      .finally(() => this.#running.delete(id));
    this.#running.set(id, run);
    return run;
  }

  /** Resolves when nothing is being done any more; what is left waits for the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running.values());
  }
}
