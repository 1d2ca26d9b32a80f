import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { reconnectDelay, SETTLED_SESSION_MS } from '#device-agent/domain/backoff.ts';
import { isRefusalOfIdentity } from '#device-agent/domain/connack.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { ConnectOutcome, MqttConnector, MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import { formatWill } from './agent-report.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';
import type { SessionKeeperHooks } from './session-keeper-hooks.ts';
import { type Contender, chooseTurn, clearRecord, isHopeless, newContender, recordFailure } from './session-turns.ts';
import { Wakeup } from './wakeup.ts';

export type SessionKeeperDeps = { mqtt: MqttConnector; clock: Clock; randomness: Randomness; log: Log };

type Candidate = Contender & { resolve: () => void; reject: (error: AgentError) => void };

/**
 * The one place that connects. Keeps a session with the current identity for ever, and proves a candidate: it connects
 * with the new certificate beside the living session, and only its CONNACK 0 makes it the identity. One loop, so that
 * there are never two attempts with one client id, which would throw each other out.
 *
 * The gateway lets the old certificate end soon after it has admitted the new one, and it may have done so although its
 * CONNACK never arrived. So a candidate is tried for ever, in turn with the current identity, and given up only when
 * the broker has refused it in so many words and then let the current identity in.
 */
export class SessionKeeper {
  readonly #deps: SessionKeeperDeps;
  readonly #hooks: SessionKeeperHooks;
  readonly #keepaliveSeconds: number;
  readonly #wakeup = new Wakeup();
  readonly #stopped = new AbortController();
  #current: Contender;
  #candidate: Candidate | undefined;
  #previous: Contender | undefined;
  /** Whether the identity before has been tried since the current one was last let in. */
  #isPreviousSettled = false;
  #turns = 0;
  #session: MqttSession | undefined;
  #sessionSince = 0;
  #failures = 0;
  #shortSessions = 0;
  #pause = new AbortController();
  #isConnecting = false;
  /** The session that ended while another one was being made: usually the gateway has closed it for that one. */
  #endedMeanwhile: string | undefined;
  #running: Promise<void> | undefined;

  constructor(
    deps: SessionKeeperDeps,
    hooks: SessionKeeperHooks,
    options: { identity: Identity; keepaliveSeconds: number },
  ) {
    this.#deps = deps;
    this.#hooks = hooks;
    this.#current = newContender(options.identity);
    this.#keepaliveSeconds = options.keepaliveSeconds;
  }

  /** The certificate the device has switched to. */
  get identity(): Identity {
    return this.#current.identity;
  }

  get session(): MqttSession | undefined {
    return this.#session;
  }

  /** A newer certificate has not been let in yet, or its CONNACK was lost. */
  get isProving(): boolean {
    return this.#candidate !== undefined;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Clean DISCONNECT; resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wakeup.wake();
    this.#candidate?.reject(
      new AgentError('STOPPED', 'the agent stops; the new certificate is proven at the next start'),
    );
    this.#candidate = undefined;
    await this.#running;
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  /** A fresh connection now, without waiting for the back-off. */
  reconnect(): void {
    const session = this.#session;
    this.#session = undefined;
    this.#failures = 0;
    this.#shortSessions = 0;
    for (const contender of this.#contenders()) contender.notBefore = 0;
    if (session) this.#hooks.onSessionEnded('left for a new one');
    void session?.close();
    this.#reconsider();
  }

  /**
   * Connects with the new certificate. Resolves once the device has switched to it.
   * @throws AgentError CANDIDATE_REFUSED when the broker would not have it and has the current identity, STOPPED.
   */
  prove(identity: Identity): Promise<void> {
    if (this.#isStopped()) return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      this.#candidate = { ...newContender(identity), resolve, reject };
      this.#reconsider();
    });
  }

  async #run(): Promise<void> {
    while (!this.#isStopped()) {
      const contender = this.#nextTurn();
      if (!contender) await this.#wakeup.next();
      else if (await this.#waitFor(contender)) await this.#connectOnce(contender);
    }
  }

  /** @returns undefined when there is nothing to do but to hold the session. */
  #nextTurn(): Contender | undefined {
    const candidate = this.#candidate;
    if (!this.#session) return chooseTurn(this.#contenders(), this.#deps.clock.monotonic());
    if (!candidate) return undefined;
    // A session that is older than the refusals proves nothing: the gateway may let its certificate end meanwhile.
    return this.#isHopeless(candidate) ? this.#current : candidate;
  }

  #contenders(): [Contender, ...Contender[]] {
    const others = this.#previous ? [this.#previous] : [];
    return this.#candidate ? [this.#candidate, this.#current, ...others] : [this.#current, ...others];
  }

  #isHopeless(candidate: Candidate): boolean {
    return isHopeless(candidate, this.#hooks.hasExpired(candidate.identity));
  }

  /** @returns false when something has happened meanwhile. */
  async #waitFor({ notBefore }: Contender): Promise<boolean> {
    const { clock } = this.#deps;
    const ms = notBefore - clock.monotonic();
    if (ms <= 0) return true;
    this.#pause = new AbortController();
    const interrupted = AbortSignal.any([this.#pause.signal, this.#stopped.signal]);
    await clock.wait(ms, interrupted);
    return !interrupted.aborted;
  }

  async #connectOnce(contender: Contender): Promise<void> {
    const { clock, mqtt } = this.#deps;
    const { identity } = contender;
    const { config, trust } = this.#hooks.target();
    this.#turns += 1;
    contender.lastTurn = this.#turns;
    this.#isConnecting = true;
    const outcome = await mqtt.connect(
      {
        address: config.mqtt,
        trust,
        identity: tlsIdentityOf(identity),
        clientId: config.deviceId,
        keepaliveSeconds: this.#keepaliveSeconds,
        will: formatWill(config.deviceId, identity, clock.now()),
      },
      this.#stopped.signal,
    );
    this.#isConnecting = false;
    if (this.#isStopped()) {
      if (outcome.kind === 'connected') await outcome.session.close();
      return;
    }
    if (outcome.kind === 'connected') await this.#take(outcome.session, contender);
    else await this.#fail(outcome, contender);
  }

  async #take(session: MqttSession, contender: Contender): Promise<void> {
    const { clock, log } = this.#deps;
    const before = this.#session;
    this.#session = session;
    this.#endedMeanwhile = undefined;
    this.#failures = 0;
    this.#sessionSince = clock.monotonic();
    void session.ended.then(({ detail }) => this.#onEnded(session, detail));
    // The gateway has closed it for this one; its end must not start another attempt.
    before?.drop();
    try {
      await this.#switchTo(contender);
      await this.#hooks.onSession(session, contender.identity);
      this.#giveUpHopeless();
    } catch (error) {
      log.warn('session given up', { error: asAgentError(error, 'STATE_BROKEN').message });
      this.#recordFailure(contender, false);
      session.drop();
    }
  }

  /** Whoever was let in is the identity. */
  async #switchTo(contender: Contender): Promise<void> {
    const candidate = this.#candidate;
    if (contender === candidate) {
      await this.#hooks.commit(candidate.identity);
      this.#candidate = undefined;
      candidate.resolve();
    } else if (contender === this.#previous) {
      await this.#hooks.fallBack(contender.identity, this.#current.identity);
    }
    clearRecord(contender);
    this.#current = contender;
    this.#previous = undefined;
    this.#isPreviousSettled = false;
  }

  /** The current identity has just been let in: what was refused before that is not needed. */
  #giveUpHopeless(): void {
    const candidate = this.#candidate;
    if (!candidate || !this.#isHopeless(candidate)) return;
    this.#candidate = undefined;
    const refused = candidate.refusals > 0;
    candidate.reject(
      new AgentError(
        'CANDIDATE_REFUSED',
        `the new certificate ${refused ? 'was not let in: the broker refuses it' : 'expired before it was let in'}`,
        {
          advice: 'the old one is in use and another is asked for soon; `gatehouse device show` tells the reason',
          receivedAt: candidate.identity.meta.receivedAt,
        },
      ),
    );
  }

  #onEnded(session: MqttSession, detail: string): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    if (this.#isConnecting) this.#endedMeanwhile = detail;
    else this.#noteEnd(detail);
  }

  #noteEnd(detail: string): void {
    const { clock, randomness } = this.#deps;
    const now = clock.monotonic();
    this.#shortSessions = now - this.#sessionSince >= SETTLED_SESSION_MS ? 0 : this.#shortSessions + 1;
    const notBefore = now + reconnectDelay(this.#shortSessions, randomness.fraction());
    this.#current.notBefore = Math.max(this.#current.notBefore, notBefore);
    this.#hooks.onSessionEnded(detail);
    this.#reconsider();
  }

  async #fail(outcome: Exclude<ConnectOutcome, { kind: 'connected' }>, contender: Contender): Promise<void> {
    const isRefusal = outcome.kind === 'refused' && isRefusalOfIdentity(outcome.code);
    this.#recordFailure(contender, isRefusal);
    if (this.#endedMeanwhile !== undefined) {
      const detail = this.#endedMeanwhile;
      this.#endedMeanwhile = undefined;
      this.#noteEnd(detail);
    }
    if (isRefusal) await this.#seekPrevious(contender);
    this.#failures += 1;
    await this.#hooks.onFailure(outcome, contender.identity, this.#failures);
  }

  /** A refusal of the current identity is not the last word while there is another; a refusal of that one is. */
  async #seekPrevious(refused: Contender): Promise<void> {
    if (refused === this.#previous) this.#previous = undefined;
    if (refused !== this.#current || this.#isPreviousSettled) return;
    this.#isPreviousSettled = true;
    const identity = await this.#hooks.findPrevious(refused.identity);
    if (identity) this.#previous = newContender(identity);
  }

  #recordFailure(contender: Contender, isRefusal: boolean): void {
    const { clock, randomness } = this.#deps;
    recordFailure(contender, { isRefusal, now: clock.monotonic(), fraction: randomness.fraction() });
  }

  #reconsider(): void {
    this.#pause.abort();
    this.#wakeup.wake();
  }

  #isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }
}

function stopped(): AgentError {
  return new AgentError('STOPPED', 'the agent stops; the new certificate is proven at the next start');
}
