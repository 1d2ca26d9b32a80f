import { type AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { renewalRetryDelay } from '#device-agent/domain/backoff.ts';
import { plannedRenewal, usableValidity } from '#device-agent/domain/renewal-schedule.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { Identity } from './identity.ts';
import type { NoticeInbox } from './notice-inbox.ts';
import type { RenewalAdvisor } from './renewal-advisor.ts';
import type { TimeKeeper } from './time-keeper.ts';
import { Wakeup } from './wakeup.ts';

export type RenewalKeeperDeps = {
  clock: Clock;
  randomness: Randomness;
  log: Log;
  time: TimeKeeper;
  inbox: NoticeInbox;
  advisor: RenewalAdvisor;
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
  /** The wall clock was moved: the gateway is to be asked what time it is, before anything is done by it. */
  onClockDoubt?(): Promise<void>;
};

/** The clock is looked at again at least this often: it may have jumped, either way. */
const LOOK_AGAIN_MS = 30_000;

/** A gateway that could not be asked what time it is, is asked again. */
const DOUBT_AGAIN_MS = 5 * 60_000;

/**
 * Decides when. By order of a notice, by the window the gateway suggests or the local rule, or because a request was interrupted; and again after a
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
  /** Monotonic; the gateway is not asked about the clock before. */
  #doubtAgainAt = 0;
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
    const { clock, time, inbox, advisor } = this.#deps;
    const planned = plannedRenewal(this.#hooks.identity(), inbox.order, advisor.window);
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

  /** The gateway suggests another window than before. */
  adviceChanged(): void {
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
      await this.#settleDoubt();
      const waitMs = this.#timeLeft();
      if (waitMs > 0) this.#deps.advisor.askWhenDue(this.#stopped.signal);
      else if (!this.#isOrdered()) {
        // After an outage of the gateway its answer spreads those who all missed their window.
        await this.#deps.advisor.askBefore(this.#stopped.signal);
        if (this.#timeLeft() > 0 || this.#stopped.signal.aborted) continue;
      }
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

  /** Whoever waits by a clock that was moved misses the moment, or does not wait for it. */
  async #settleDoubt(): Promise<void> {
    const { clock, time } = this.#deps;
    if (!time.isInDoubt() || clock.monotonic() < this.#doubtAgainAt) return;
    this.#doubtAgainAt = clock.monotonic() + DOUBT_AGAIN_MS;
    await this.#hooks.onClockDoubt?.();
  }

  /** Begun already, or ordered by a notice: then no advice is asked for. */
  #isOrdered(): boolean {
    const { inbox, time } = this.#deps;
    const { order } = inbox;
    const isDue = order?.serial === this.#hooks.identity().certificate.serial && order.at <= time.now();
    return this.#isUnfinished || isDue;
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
        if (!this.#isOlderThanOrder(error)) await inbox.endOrder('failed', error.message);
      }
      await this.#hooks.onFailed(error);
      throw error;
    }
  }

  /** The certificate that the device has just stepped back from is tried once more; its refusal is no answer to what was ordered since. */
  #isOlderThanOrder({ receivedAt }: AgentError): boolean {
    const since = this.#deps.inbox.order?.since;
    return receivedAt !== undefined && since !== undefined && receivedAt < since;
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
