import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { reconnectDelay, SETTLED_SESSION_MS } from '#device-agent/domain/backoff.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { ConnectOutcome, MqttConnector, MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import { formatWill } from './agent-report.ts';
import { explainOutcome } from './confirm-session.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';
import { Wakeup } from './wakeup.ts';

export type SessionKeeperDeps = { mqtt: MqttConnector; clock: Clock; randomness: Randomness; log: Log };

/** What the keeper needs to know, and whom it tells. */
export type SessionKeeperHooks = {
  /** Read at every attempt: the address and the clock may have changed. */
  target(): { config: AgentConfig; trust: GatewayTrust };
  /** A session is there (CONNACK 0). What it throws ends the session. */
  onSession(session: MqttSession, identity: Identity): Promise<void>;
  onSessionEnded(detail: string): void;
  onFailure(
    outcome: Exclude<ConnectOutcome, { kind: 'connected' }>,
    identity: Identity,
    failures: number,
  ): Promise<void>;
  /** The candidate has had its CONNACK 0: make it the identity, durably. */
  commit(candidate: Identity): Promise<void>;
};

/** So many refusals and the new certificate is given up: one alone may be a gateway that is just starting. */
const CANDIDATE_ATTEMPTS = 3;

type Candidate = { identity: Identity; refusals: number; resolve: () => void; reject: (error: AgentError) => void };

/**
 * The one place that connects. Keeps a session with the current identity for ever, and proves a candidate: it connects
 * with the new certificate beside the living session, and only its CONNACK 0 makes it the identity. One loop, so that
 * there are never two attempts with one client id, which would throw each other out.
 */
export class SessionKeeper {
  readonly #deps: SessionKeeperDeps;
  readonly #hooks: SessionKeeperHooks;
  readonly #keepaliveSeconds: number;
  readonly #wakeup = new Wakeup();
  readonly #stopped = new AbortController();
  #identity: Identity;
  #candidate: Candidate | undefined;
  #session: MqttSession | undefined;
  #sessionSince = 0;
  #failures = 0;
  #shortSessions = 0;
  #pause = new AbortController();
  #delayMs = 0;
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
    this.#identity = options.identity;
    this.#keepaliveSeconds = options.keepaliveSeconds;
  }

  /** The certificate the device has switched to. */
  get identity(): Identity {
    return this.#identity;
  }

  get session(): MqttSession | undefined {
    return this.#session;
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
    this.#delayMs = 0;
    this.#failures = 0;
    this.#shortSessions = 0;
    if (session) this.#hooks.onSessionEnded('left for a new one');
    void session?.close();
    this.#pause.abort();
    this.#wakeup.wake();
  }

  /**
   * Connects with the new certificate. Resolves once the device has switched to it.
   * @throws AgentError CANDIDATE_REFUSED when the broker would not have it, STOPPED.
   */
  prove(identity: Identity): Promise<void> {
    if (this.#isStopped()) return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      this.#candidate = { identity, refusals: 0, resolve, reject };
      this.#delayMs = 0;
      this.#pause.abort();
      this.#wakeup.wake();
    });
  }

  async #run(): Promise<void> {
    while (!this.#isStopped()) {
      if (this.#session && !this.#candidate) {
        await this.#wakeup.next();
        continue;
      }
      await this.#waitOut();
      if (this.#isStopped() || (this.#session && !this.#candidate)) continue;
      await this.#connectOnce();
    }
  }

  async #connectOnce(): Promise<void> {
    const { clock, mqtt } = this.#deps;
    const candidate = this.#candidate;
    const identity = candidate?.identity ?? this.#identity;
    const { config, trust } = this.#hooks.target();
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
    if (outcome.kind === 'connected') await this.#take(outcome.session, identity, candidate);
    else await this.#fail(outcome, identity, candidate);
  }

  async #take(session: MqttSession, identity: Identity, candidate: Candidate | undefined): Promise<void> {
    const before = this.#session;
    this.#session = session;
    this.#endedMeanwhile = undefined;
    this.#failures = 0;
    this.#delayMs = 0;
    this.#sessionSince = this.#deps.clock.monotonic();
    void session.ended.then(({ detail }) => this.#onEnded(session, detail));
    // The gateway has closed it for this one; its end must not start another attempt.
    before?.drop();
    try {
      if (candidate && this.#candidate === candidate) {
        await this.#hooks.commit(identity);
        this.#identity = identity;
        this.#candidate = undefined;
        candidate.resolve();
      }
      await this.#hooks.onSession(session, identity);
    } catch (error) {
      this.#deps.log.warn('session given up', { error: asAgentError(error, 'STATE_BROKEN').message });
      session.drop();
    }
  }

  #onEnded(session: MqttSession, detail: string): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    if (this.#isConnecting) {
      this.#endedMeanwhile = detail;
      return;
    }
    const settled = this.#deps.clock.monotonic() - this.#sessionSince >= SETTLED_SESSION_MS;
    this.#shortSessions = settled ? 0 : this.#shortSessions + 1;
    this.#delayMs = reconnectDelay(this.#shortSessions, this.#deps.randomness.fraction());
    this.#hooks.onSessionEnded(detail);
    this.#wakeup.wake();
  }

  async #fail(
    outcome: Exclude<ConnectOutcome, { kind: 'connected' }>,
    identity: Identity,
    candidate: Candidate | undefined,
  ): Promise<void> {
    if (this.#endedMeanwhile !== undefined) {
      this.#hooks.onSessionEnded(this.#endedMeanwhile);
      this.#endedMeanwhile = undefined;
    }
    this.#failures += 1;
    this.#delayMs = reconnectDelay(this.#failures - 1, this.#deps.randomness.fraction());
    if (candidate && this.#candidate === candidate && (outcome.kind === 'refused' || outcome.kind === 'closed')) {
      candidate.refusals += 1;
      if (candidate.refusals >= CANDIDATE_ATTEMPTS) {
        this.#candidate = undefined;
        this.#failures = 0;
        this.#delayMs = 0;
        const { message, advice } = explainOutcome(outcome);
        candidate.reject(
          new AgentError(
            'CANDIDATE_REFUSED',
            `the new certificate was not let in: ${message}`,
            advice === undefined ? {} : { advice },
          ),
        );
      }
    }
    await this.#hooks.onFailure(outcome, identity, this.#failures);
  }

  async #waitOut(): Promise<void> {
    const ms = this.#delayMs;
    this.#delayMs = 0;
    if (ms === 0) return;
    this.#pause = new AbortController();
    await this.#deps.clock.wait(ms, AbortSignal.any([this.#pause.signal, this.#stopped.signal]));
  }

  #isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }
}

function stopped(): AgentError {
  return new AgentError('STOPPED', 'the agent stops; the new certificate is proven at the next start');
}
