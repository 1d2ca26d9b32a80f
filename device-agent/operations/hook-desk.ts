import type { HookRunner } from '#device-agent/ports/hook-runner.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { FactBook } from './fact-book.ts';
import type { TimeKeeper } from './time-keeper.ts';

export type HookDeskDeps = { hook?: HookRunner; log: Log; time: TimeKeeper; facts: FactBook };

export type HookDeskHooks = {
  deviceId: string;
  currentSerial(): string;
  /** It has ended and stands in the facts. */
  onEnded(): Promise<void>;
};

/** What of the files has changed: `current/`, `trust.pem`, or those of `crl/`. */
export type HookCause = 'certificate' | 'trust' | 'crl';

/** Runs the owner's command when files that others use have changed: one run at a time, each told what it is for. */
export class HookDesk {
  readonly #deps: HookDeskDeps;
  readonly #hooks: HookDeskHooks;
  readonly #waiting = new Set<HookCause>();
  #queue: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(deps: HookDeskDeps, hooks: HookDeskHooks) {
    this.#deps = deps;
    this.#hooks = hooks;
  }

  /** After a switch to another certificate. Resolves when the command has ended; never rejects. */
  certificateChanged(oldSerial: string): Promise<void> {
    return this.#enqueue('certificate', { GATEHOUSE_OLD_SERIAL: oldSerial });
  }

  /** One run that has not begun covers all that has changed until it begins. */
  filesChanged(cause: 'trust' | 'crl'): void {
    if (this.#waiting.has(cause)) return;
    this.#waiting.add(cause);
    void this.#enqueue(cause, {});
  }

  /** No more runs begin. Resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#queue;
  }

  #enqueue(cause: HookCause, more: Record<string, string>): Promise<void> {
    this.#queue = this.#queue.then(() => this.#run(cause, more));
    return this.#queue;
  }

  async #run(cause: HookCause, more: Record<string, string>): Promise<void> {
    const { hook, log, time, facts } = this.#deps;
    this.#waiting.delete(cause);
    if (!hook || this.#isStopped) return;
    const result = await hook.run({
      GATEHOUSE_CHANGED: cause,
      GATEHOUSE_DEVICE_ID: this.#hooks.deviceId,
      GATEHOUSE_SERIAL: this.#hooks.currentSerial(),
      ...more,
    });
    log.info('hook ended', { changed: cause, ...result });
    await facts.update({ hook: { ...result, at: time.now() } });
    await this.#hooks.onEnded();
  }
}
