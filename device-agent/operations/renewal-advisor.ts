import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { asAgentError } from '#device-agent/domain/agent-error.ts';
import type { PlannedWindow } from '#device-agent/domain/notice-memory.ts';
import { nextQuestion, pauseUnanswered } from '#device-agent/domain/renewal-advice.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EstClient, GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import type { Identity } from './identity.ts';

export type RenewalAdvisorDeps = { est: EstClient; clock: Clock; randomness: Randomness; log: Log };

export type RenewalAdvisorHooks = {
  identity(): Identity;
  target(): { config: AgentConfig; trust: GatewayTrust };
  /** The window has changed. */
  onAdvice(): void;
  /** The window that a notice told last, of whichever certificate. */
  told(): PlannedWindow | undefined;
  /** Resolves when the gateway has had time to say something in a session, or there is none for a while. */
  settled(signal: AbortSignal): Promise<void>;
};

/** A gateway that does not answer this within so long is not waited for: the renewal itself will tell. */
const PATIENCE_MS = 20_000;

/**
 * When the gateway would like to see this certificate renewed. It says so with the certificate; it is asked again
 * (RFC 9773) as often as it wishes, and before each planned renewal, since it moves windows when it was down. Where it
 * cannot be asked it says so by a notice. Without either the window told before stands, and without any the local rule.
 * No credentials are needed to ask, and none are shown.
 */
export class RenewalAdvisor {
  readonly #deps: RenewalAdvisorDeps;
  readonly #hooks: RenewalAdvisorHooks;
  #heard: { serial: string; window: SuggestedWindow | undefined } | undefined;
  /** When to ask next, monotonic; of which certificate, and whether an answer stands until then. */
  #next: { serial: string; at: number; isAnswered: boolean } | undefined;
  /** Questions in a row that nobody answered. */
  #failures = 0;
  #asking: Promise<void> | undefined;

  constructor(deps: RenewalAdvisorDeps, hooks: RenewalAdvisorHooks) {
    this.#deps = deps;
    this.#hooks = hooks;
  }

  /** undefined: the gateway has suggested none. */
  get window(): SuggestedWindow | undefined {
    const { certificate, meta } = this.#hooks.identity();
    if (this.#heard?.serial === certificate.serial) return this.#heard.window;
    const told = this.#hooks.told();
    return told?.serial === certificate.serial ? told : meta.suggestedWindow;
  }

  /** What the gateway has said last, as an answer or by a notice. */
  hear({ serial, start, end }: PlannedWindow): void {
    const before = this.window;
    this.#heard = { serial, window: { start, end } };
    if (serial !== this.#hooks.identity().certificate.serial) return;
    if (before?.start === start && before.end === end) return;
    this.#deps.log.info('the gateway suggests when to renew', { serial, start, end });
    this.#hooks.onAdvice();
  }

  /** Asks when it is time to. To be called now and then; never rejects and is not waited for. */
  askWhenDue(signal: AbortSignal): void {
    if (this.#schedule().at <= this.#deps.clock.monotonic()) void this.#ask(signal);
  }

  /**
   * Before a planned renewal: asks unless the gateway has said that its last answer still stands. When it cannot be asked,
   * and has only just come back, it is given the time to tell another window by a notice. Never rejects.
   */
  async askBefore(signal: AbortSignal): Promise<void> {
    const { at, isAnswered } = this.#schedule();
    if (!isAnswered || at <= this.#deps.clock.monotonic()) await this.#ask(signal);
    if (!this.#schedule().isAnswered) await this.#hooks.settled(signal);
  }

  #schedule(): { serial: string; at: number; isAnswered: boolean } {
    const { clock, randomness } = this.#deps;
    const { certificate, meta } = this.#hooks.identity();
    const { serial, notBefore, notAfter } = certificate;
    if (this.#next?.serial !== serial) {
      const delay = nextQuestion({
        isAdvised: meta.suggestedWindow !== undefined,
        lifetimeMs: notAfter - notBefore,
        fraction: randomness.fraction(),
      });
      this.#next = { serial, at: clock.monotonic() + delay, isAnswered: false };
    }
    return this.#next;
  }

  #ask(signal: AbortSignal): Promise<void> {
    this.#asking ??= this.#askOnce(signal).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askOnce(stopped: AbortSignal): Promise<void> {
    const { est, clock, log } = this.#deps;
    const { config, trust } = this.#hooks.target();
    const { certificate } = this.#hooks.identity();
    const { serial, authorityKeyId } = certificate;
    if (authorityKeyId === undefined) return this.#askAgain(serial, UNANSWERED_MS, true);
    const over = new AbortController();
    const patience = clock.wait(PATIENCE_MS, AbortSignal.any([over.signal, stopped]));
    const signal = AbortSignal.any([over.signal, stopped]);
    const session = est.openSession({ address: config.est, trust });
    try {
      const asked = session.fetchRenewalInfo({ issuerKeyId: authorityKeyId, serial }, signal);
      const answer = await Promise.race([asked, patience.then(() => Promise.reject(new Error('no answer in time')))]);
      this.#failures = 0;
      this.#askAgain(serial, answer.retryAfterMs, true);
      if (answer.window !== undefined) this.hear({ serial, ...answer.window });
    } catch (thrown) {
      const error = asAgentError(thrown, 'GATEWAY_UNREACHABLE');
      log.debug('no renewal information', { serial, reason: error.message });
      // Who is to renew over MQTT may have no way there at all: it tries once a day, and before each renewal.
      const isRare = config.renewVia === 'mqtt';
      const pause = isRare ? UNANSWERED_MS : pauseUnanswered(this.#failures, this.#deps.randomness.fraction());
      this.#failures += 1;
      this.#askAgain(serial, Math.max(error.retryAfterMs ?? 0, pause), false);
    } finally {
      over.abort();
      session.close();
    }
    return undefined;
  }

  #askAgain(serial: string, afterMs: number, isAnswered: boolean): void {
    this.#next = { serial, at: this.#deps.clock.monotonic() + afterMs, isAnswered };
  }
}

const UNANSWERED_MS = 24 * 3600_000;
