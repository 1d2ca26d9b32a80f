import { type AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { renewalRetryDelay } from '#device-agent/domain/backoff.ts';
import { plannedRenewal, usableValidity } from '#device-agent/domain/renewal-schedule.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { Identity } from './identity.ts';
import type { NoticeInbox } from './notice-inbox.ts';
import type { TimeKeeper } from './time-keeper.ts';
import { Wakeup } from './wakeup.ts';

export type RenewalKeeperDeps = {
  clock: Clock;
  randomness: Randomness;
  log: Log;
  time: TimeKeeper;
  inbox: NoticeInbox;
};

/** `attemptId` is that of the request which brought the new certificate. */
export type Renewed = { oldSerial: string; newSerial: string; attemptId?: string };

export type RenewalKeeperHooks = {
  identity(): Identity;
  /** One whole renewal, up to the switch. */
  renew(signal: AbortSignal): Promise<Renewed>;
  onRenewed(renewed: Renewed): Promise<void>;
  onFailed(error: AgentError): Promise<void>;
  /** The moment has changed: the gateway and `status` should know. */
  onPlanned(): void;
};

/** The clock is looked at again at least this often: it may have jumped, either way. */
const LOOK_AGAIN_MS = 30_000;

/**
 * Decides when. By order of a notice, by the local rule, or because a request was interrupted; and again after a
 * failure, slower each time, for ever.
 */
export class RenewalKeeper {
  readonly #deps: RenewalKeeperDeps;
  readonly #hooks: RenewalKeeperHooks;
  readonly #wakeup = new Wakeup();
  readonly #stopped = new AbortController();
  #failures = 0;
  /** Monotonic; no attempt of its own before. */
  #notBefore = 0;
  /** Something was begun, or is to be begun anew, whatever rule and order say. */
  #isUnfinished: boolean;
  #renewing: Promise<Renewed> | undefined;
  #running: Promise<void> | undefined;

  /** @param options.interrupted a request was under way when the agent ended last time. */
  constructor(deps: RenewalKeeperDeps, hooks: RenewalKeeperHooks, options: { interrupted: boolean }) {
    this.#deps = deps;
    this.#hooks = hooks;
    this.#isUnfinished = options.interrupted;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wakeup.wake();
    await this.#renewing?.catch(() => {});
    await this.#running;
  }

  /** Milliseconds UTC. */
  nextRenewalAt(): number {
    const { clock, time, inbox } = this.#deps;
    const planned = plannedRenewal(this.#hooks.identity(), inbox.order);
    if (!this.#isUnfinished) return planned;
    return Math.min(planned, time.now() + Math.max(0, Math.round(this.#notBefore - clock.monotonic())));
  }

  /** The identity in use is not the newest the gateway has issued, and may be the one it lets end. */
  renewSoon(): void {
    this.#isUnfinished = true;
    this.#notBefore = this.#deps.clock.monotonic() + this.#retryDelay({ candidateRefused: true });
    this.#hooks.onPlanned();
    this.#wakeup.wake();
  }

  /** A notice has ordered a renewal. */
  reconsider(): void {
    this.#notBefore = 0;
    this.#hooks.onPlanned();
    this.#wakeup.wake();
  }

  /** Renews at once, or joins the renewal under way. @throws AgentError */
  renewNow(): Promise<Renewed> {
    this.#renewing ??= this.#attempt().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const waitMs = this.#timeLeft();
      if (waitMs <= 0) {
        // It has been told to whom it concerns.
        await this.renewNow().catch(() => {});
        continue;
      }
      const tick = new AbortController();
      const waiting = this.#deps.clock.wait(
        Math.min(waitMs, LOOK_AGAIN_MS),
        AbortSignal.any([tick.signal, this.#stopped.signal]),
      );
      await Promise.race([waiting, this.#wakeup.next()]);
      tick.abort();
    }
  }

  #timeLeft(): number {
    const { clock, time } = this.#deps;
    const due = this.#isUnfinished ? 0 : this.nextRenewalAt() - time.now();
    return Math.max(due, this.#notBefore - clock.monotonic());
  }

  async #attempt(): Promise<Renewed> {
    const { clock, log, inbox } = this.#deps;
    try {
      const renewed = await this.#hooks.renew(this.#stopped.signal);
      this.#failures = 0;
      this.#isUnfinished = false;
      // A clock far ahead of the gateway's finds every new certificate due: it must not renew in a circle.
      this.#notBefore = clock.monotonic() + lifetimeOf(this.#hooks.identity()).lifetimeMs / 4;
      log.info('certificate renewed', renewed);
      await inbox.endOrder('done', `new serial ${renewed.newSerial}`);
      await this.#hooks.onRenewed(renewed);
      return renewed;
    } catch (thrown) {
      const error = asAgentError(thrown, 'STATE_BROKEN');
      if (error.code === 'STOPPED') throw error;
      const candidateRefused = error.code === 'CANDIDATE_REFUSED';
      const delay = this.#retryDelay({ candidateRefused, retryAfterMs: error.retryAfterMs });
      this.#failures += 1;
      this.#notBefore = clock.monotonic() + delay;
      log.warn('renewal failed', {
        code: error.code,
        reason: error.message,
        attemptId: error.attemptId,
        retryInMs: delay,
      });
      // What will not be granted is an answer; anything else is tried again under the same order.
      if (error.code === 'GATEWAY_REFUSED' || candidateRefused) {
        // The order ends; that the device needs a certificate that is let in does not.
        this.#isUnfinished = candidateRefused;
        await inbox.endOrder('failed', error.message);
      }
      await this.#hooks.onFailed(error);
      throw error;
    }
  }

  #retryDelay(after: { candidateRefused: boolean; retryAfterMs?: number | undefined }): number {
    return renewalRetryDelay({
      failures: this.#failures,
      lifetimeMs: lifetimeOf(this.#hooks.identity()).lifetimeMs,
      retryAfterMs: after.retryAfterMs,
      candidateRefused: after.candidateRefused,
      fraction: this.#deps.randomness.fraction(),
    });
  }
}

function lifetimeOf({ certificate, meta }: Identity): { lifetimeMs: number } {
  const { notBefore, notAfter } = usableValidity(certificate, meta.receivedAt);
  return { lifetimeMs: notAfter - notBefore };
}
