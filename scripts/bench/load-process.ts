import { type ChildProcess, fork } from 'node:child_process';
import type { LoadJob, LoadResult } from './load-jobs.ts';

const JOB_MS = 60_000;

type Answer<Result> = { id: number } & ({ result: Result } | { error: string });
type Pending<Result> = { resolve: (result: Result) => void; reject: (error: Error) => void };

/** A process that makes load, one job after the other: plain devices unless it is another program. */
export class LoadProcess<Job extends { kind: string } = LoadJob, Result extends LoadResult = LoadResult> {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending<Result>>();
  #next = 1;

  /** @param program answers `{id, job}` with `{id, result}` or `{id, error}` */
  constructor(program: URL = new URL('./load-worker.ts', import.meta.url)) {
    this.#child = fork(program, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (answer: Answer<Result>) => this.#settle(answer));
    this.#child.on('exit', () => {
      for (const { reject } of this.#pending.values()) reject(new Error('the load process ended'));
      this.#pending.clear();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** @throws Error when any part of the job failed: a figure with failures in it says nothing. */
  async run(job: Job): Promise<Result> {
    const id = this.#next;
    this.#next += 1;
    const result = await new Promise<Result>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${job.kind} took longer than ${JOB_MS / 1000} s`)), JOB_MS);
      const settle = (work: () => void) => {
        clearTimeout(timer);
        this.#pending.delete(id);
        work();
      };
      this.#pending.set(id, {
        resolve: (value) => settle(() => resolve(value)),
        reject: (error) => settle(() => reject(error)),
      });
      this.#child.send({ id, job });
    });
    if (result.failed > 0) throw new Error(`${job.kind}: ${result.failed} failed, the first: ${result.firstFailure}`);
    return result;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }

  #settle(answer: Answer<Result>): void {
    const pending = this.#pending.get(answer.id);
    if ('error' in answer) pending?.reject(new Error(answer.error));
    else pending?.resolve(answer.result);
  }
}
