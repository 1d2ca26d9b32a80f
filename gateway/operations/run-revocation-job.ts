import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { RevocationJob, RevocationJobItem } from '#gateway/domain/revocation-job.ts';
import { StoreError } from '#gateway/ports/store.ts';
import { bareDevices, expandJob } from './expand-revocation.ts';
import { landRevocations } from './land-revocations.ts';
import type { RecordedRevocation } from './record-device-revocation.ts';
import { recordBareDevices, recordBatch } from './revocation-batch.ts';
import type { RevokeDeps } from './revoke-device.ts';

/** How long a worker that has died keeps a job from the others. */
const LEASE_MS = 5000;
/** More in one transaction would hold up the other writers. */
const BATCH = 100;
/** A commit takes milliseconds, a silent device's notice a second: so many batches may wait for theirs at once. */
const MOST_LANDING = 20;

type Run = { id: string; holder: string; stopping: AbortSignal };

/**
 * Works through a job: batch by batch one commit, and after each everything lands at once while the next is committed.
 * Every step may be the last before a crash: what is committed is revoked, and the rest waits for the next worker.
 * Resolves when the job has ended, was paused or cancelled, is another worker's, or the process stops.
 * @throws when the store fails; the sessions of what could not be recorded are closed all the same
 */
export async function runRevocationJob(deps: RevokeDeps, run: Run): Promise<void> {
  const jobRun = new JobRun(deps, run);
  if (!(await jobRun.keepLease())) return;
  try {
    if (!(await jobRun.revokeBareDevices())) return;
    while (await jobRun.step());
  } finally {
    await jobRun.end();
  }
}

class JobRun {
  readonly #deps: RevokeDeps;
  readonly #run: Run;
  readonly #lease: string;
  readonly #landings = new Set<Promise<void>>();
  /** Monotonic milliseconds before which the rate allows nothing more. */
  #nextAt = 0;

  constructor(deps: RevokeDeps, run: Run) {
    this.#deps = deps;
    this.#run = run;
    this.#lease = `revocation-job:${run.id}`;
  }

  keepLease(): Promise<boolean> {
    const now = this.#deps.clock.now();
    return this.#deps.store.write((tables) =>
      tables.leases.acquire(this.#lease, this.#run.holder, now, now + LEASE_MS),
    );
  }

  /**
   * What could still come with a ticket is no item, since it has no certificate. Doing it twice changes nothing.
   * @returns false when there is nothing more to do here
   */
  async revokeBareDevices(): Promise<boolean> {
    const job = await this.#findRunning();
    if (job === undefined) return false;
    const limit = batchOf(job.rate);
    for await (const deviceIds of bareDevices(this.#deps, job)) {
      for (let at = 0; at < deviceIds.length; at += limit) {
        const part = deviceIds.slice(at, at + limit);
        await this.#turn(job.rate, part.length);
        if (this.#run.stopping.aborted || !(await this.keepLease())) return false;
        const now = this.#deps.clock.now();
        const decidedAt = this.#deps.clock.monotonic();
        const order = { job, deviceIds: part, now };
        const revoked = await this.#deps.store.write((tables) => recordBareDevices(tables, this.#deps, order));
        if (revoked === undefined) return false;
        this.#land(job, revoked, decidedAt);
        if (this.#landings.size >= MOST_LANDING) await Promise.race(this.#landings);
        this.#deps.log.info('devices without a certificate revoked', { job: job.id, devices: part.length });
      }
    }
    return true;
  }

  /** One batch. @returns false when there is nothing more to do here. */
  async step(): Promise<boolean> {
    const job = await this.#findRunning();
    if (job === undefined || this.#run.stopping.aborted) return false;
    const limit = batchOf(job.rate);
    const items = await this.#deps.store.read.revocationJobs.listItems(job.id, { state: 'waiting', limit });
    if (items.length === 0) {
      if ((await expandJob(this.#deps, job)) > 0) return true;
      await this.#finish(job);
      return false;
    }
    await this.#turn(job.rate, items.length);
    if (this.#run.stopping.aborted || !(await this.keepLease())) return false;
    await this.#revoke(job, items);
    if (this.#landings.size >= MOST_LANDING) await Promise.race(this.#landings);
    return true;
  }

  async end(): Promise<void> {
    await Promise.all(this.#landings);
    // One that cannot be given back ends by itself.
    await this.#deps.store.write((tables) => tables.leases.release(this.#lease, this.#run.holder)).catch(() => {});
  }

  async #findRunning(): Promise<RevocationJob | undefined> {
    const job = await this.#deps.store.read.revocationJobs.find(this.#run.id);
    return job?.state === 'running' ? job : undefined;
  }

  async #revoke(job: RevocationJob, items: readonly RevocationJobItem[]): Promise<void> {
    const { store, clock } = this.#deps;
    const decidedAt = clock.monotonic();
    const order = { job, items, now: clock.now() };
    try {
      const revoked = await store.write((tables) => recordBatch(tables, this.#deps, order));
      if (revoked !== undefined) this.#land(job, revoked, decidedAt);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'UNAVAILABLE') {
        await this.#shutOut(job, items, decidedAt);
        throw error;
      }
      // One that cannot be done must not hold up the others.
      const [only, ...more] = items;
      if (only === undefined) return;
      if (more.length > 0) for (const item of items) await this.#revoke(job, [item]);
      else await this.#fail(job, only, error);
    }
  }

  /** After the commit. Nobody waits for it but the end of the job. */
  #land(job: RevocationJob, revoked: readonly RecordedRevocation[], decidedAt: number): void {
    const landing = this.#carryOut(job, revoked, decidedAt)
      .catch((error: unknown) =>
        this.#deps.log.error('revoked, but not all is done', { job: job.id, error: String(error) }),
      )
      .finally(() => this.#landings.delete(landing));
    this.#landings.add(landing);
  }

  async #carryOut(job: RevocationJob, revoked: readonly RecordedRevocation[], decidedAt: number): Promise<void> {
    const { store, metrics, revocations } = this.#deps;
    const closed = await landRevocations(this.#deps, revoked, { reason: job.reason, decidedAt });
    if (closed.size > 0) {
      await store.write(async (tables) => {
        for (const [serial, milliseconds] of closed) {
          await tables.revocations.setClosedAfter([serial], milliseconds);
          await tables.revocationJobs.updateItem(job.id, serial, { closedAfterMs: milliseconds });
        }
      });
    }
    for (const milliseconds of closed.values()) metrics.revocation(milliseconds / 1000, 1);
    void revocations.published();
  }

  /** A revocation must work on a full disk too, if only until the gateway restarts; the job tries again meanwhile. */
  async #shutOut(job: RevocationJob, items: readonly RevocationJobItem[], decidedAt: number): Promise<void> {
    const unrecorded = items.map(({ deviceId, serial }) => ({
      deviceId,
      serials: [serial],
      ended: [],
      noticeId: undefined,
    }));
    await landRevocations(this.#deps, unrecorded, { reason: job.reason, decidedAt });
    this.#deps.log.error('revocations carried out but not recorded', { job: job.id, certificates: items.length });
  }

  async #fail(job: RevocationJob, { serial }: RevocationJobItem, error: unknown): Promise<void> {
    const detail = error instanceof Error ? error.message.slice(0, 200) : 'it failed';
    this.#deps.log.error('certificate not revoked', { job: job.id, serial, error: String(error) });
    await this.#deps.store.write((tables) =>
      tables.revocationJobs.updateItem(job.id, serial, { state: 'failed', detail }),
    );
  }

  async #finish(job: RevocationJob): Promise<void> {
    const { store, clock, log, revocations } = this.#deps;
    await Promise.all(this.#landings);
    await revocations.published();
    const items = Object.fromEntries(await store.read.revocationJobs.countItems(job.id));
    const now = clock.now();
    await store.write(async (tables) => {
      if ((await tables.revocationJobs.find(job.id))?.state !== 'running') return;
      await tables.revocationJobs.update(job.id, { state: 'finished', finishedAt: now });
      const counts = Object.entries(items).map(([state, count]) => `${count} ${state}`);
      const detail = `${job.scope} ${job.target}: ${counts.join(', ') || 'nothing to revoke'}`;
      await tables.audit.append(
        auditEntry({ at: now, actor: job.createdBy, action: 'revocation.finished', subject: job.id, detail }),
      );
    });
    log.info('revocation finished', { job: job.id, scope: job.scope, target: job.target, ...items });
  }

  /** Waits until the rate allows so many more. */
  async #turn(rate: number | null, count: number): Promise<void> {
    if (rate === null) return;
    const now = this.#deps.clock.monotonic();
    const wait = this.#nextAt - now;
    this.#nextAt = Math.max(this.#nextAt, now) + (count / rate) * 1000;
    if (wait <= 0) return;
    const { stopping } = this.#run;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        stopping.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, wait);
      stopping.addEventListener('abort', done, { once: true });
    });
  }
}

/** At most a second's worth: a pause is noticed between batches, and the lease is kept there. */
function batchOf(rate: number | null): number {
  return rate === null ? BATCH : Math.min(BATCH, Math.max(1, Math.floor(rate / 2)));
}
