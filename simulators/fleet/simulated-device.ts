import { composeAgent, type KeyAccess } from '#device-agent/compose-agent.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { enrollDevice } from '#device-agent/operations/enroll-device.ts';
import { runAgent } from '#device-agent/operations/run-agent.ts';
import type { AgentDeps, AgentEvent, RunningAgent } from '#device-agent/operations/running-agent.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import { silentLog } from '#device-agent/runtime/json-log.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { type JoinUrl, parseJoinUrl } from '#gateway/contract/join-url.ts';
import type { KeyKind } from '#gateway/contract/operator-api.ts';
import { SimulatorError } from '#simulators/simulator-error.ts';
import { type CrlTraffic, MemoryCrlFolder } from './memory-crl-folder.ts';

type Waiting = { kind: AgentEvent['kind']; resolve: () => void; reject: (error: Error) => void };

/** A device asks again this often when the gateway is busy, as its owner's start script would. */
const BUSY_ATTEMPTS = 5;
const BUSY_WAIT_MS = 1000;

/** One device: a state store of its own and the operations of the real agent on real sockets. */
export class SimulatedDevice {
  readonly deviceId: DeviceId;
  /** Set by the phase that runs: an attempt failed and the agent makes it again by itself. */
  onRepeat: (reason: string) => void = () => {};
  /** Set by the phase that runs: the session ended although nobody asked for it. */
  onLost: (detail: string) => void = () => {};
  readonly #store = new MemoryStateStore();
  #deps: AgentDeps;
  readonly #waiting = new Set<Waiting>();
  #join: JoinUrl | undefined;
  #agent: RunningAgent | undefined;
  #isEnrolled = false;
  #isConnected = false;

  readonly #crl: MemoryCrlFolder | undefined;

  /** @param traffic left out: it keeps no CRL, and does not hear of revocations (`gatehouse-agent run --no-crl`). */
  constructor(deviceId: DeviceId, traffic?: CrlTraffic) {
    this.deviceId = deviceId;
    this.#crl = traffic && new MemoryCrlFolder(traffic);
    this.#deps = this.#compose();
  }

  /** Its keys live there from now on: before the first one is made. */
  equip(keys: KeyProvider): void {
    this.#deps = this.#compose({ keys });
  }

  #compose(access?: KeyAccess): AgentDeps {
    const crl = this.#crl;
    return composeAgent({ store: this.#store, log: silentLog, ...(crl && { crl }), ...(access && { access }) });
  }

  get isRegistered(): boolean {
    return this.#join !== undefined;
  }

  get isEnrolled(): boolean {
    return this.#isEnrolled;
  }

  get isStarted(): boolean {
    return this.#agent !== undefined;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** @param joinUrl as the gateway gave it; never shown or logged. */
  giveJoinUrl(joinUrl: string): void {
    this.#join = parseJoinUrl(joinUrl);
  }

  /**
   * First contact to stored certificate. The MQTT session that confirms it is the one that `connect` makes.
   * @throws AgentError
   */
  async enroll(keyKind: KeyKind, signal: AbortSignal): Promise<void> {
    const join = this.#join;
    if (!join) throw new SimulatorError('USAGE', 'the device has no join URL yet');
    for (let attempt = 1; ; attempt += 1) {
      try {
        await enrollDevice(this.#deps, { join, keyKind, confirm: false, replace: false }, QUIET, signal);
        this.#isEnrolled = true;
        return;
      } catch (error) {
        const busy = error instanceof AgentError && error.code === 'GATEWAY_BUSY' ? error : undefined;
        if (!busy || attempt === BUSY_ATTEMPTS || signal.aborted) throw error;
        this.onRepeat(busy.code);
        await this.#deps.clock.wait((busy.retryAfterMs ?? BUSY_WAIT_MS) * (1 + Math.random() / 2), signal);
      }
    }
  }

  /** Starts the agent; resolves when its session is there, subscribed and reported. @throws AgentError, SimulatorError */
  async connect(signal: AbortSignal): Promise<void> {
    const connected = this.#next('connected', signal);
    // Also when the start fails before anybody waits for it.
    connected.catch(() => {});
    this.#agent = await runAgent(this.#deps, { onEvent: (event) => this.#onEvent(event) });
    await connected;
  }

  /** Leaves the session and makes a new one at once, without back-off. */
  async reconnect(signal: AbortSignal): Promise<void> {
    const agent = this.#running();
    this.#isConnected = false;
    const connected = this.#next('connected', signal);
    agent.reconnect();
    await connected;
  }

  /** Resolves when the device has renewed by a notice of the gateway. @param order sends that notice. */
  async renewByNotice(order: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const renewed = this.#next('renewed', signal);
    renewed.catch(() => {});
    await order();
    await renewed;
  }

  /** Renews by its own decision. @throws AgentError */
  async renewByItself(signal: AbortSignal): Promise<void> {
    const renewed = this.#next('renewed', signal);
    renewed.catch(() => {});
    await this.#running().renewNow();
    await renewed;
  }

  async stop(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    this.#isConnected = false;
    await agent?.stop();
  }

  #running(): RunningAgent {
    if (!this.#agent) throw new SimulatorError('SESSION_LOST', 'the agent of this device does not run');
    return this.#agent;
  }

  #next(kind: AgentEvent['kind'], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        this.#waiting.delete(waiting);
        signal.removeEventListener('abort', onAbort);
        settle();
      };
      const onAbort = () => waiting.reject(asError(signal.reason));
      const waiting: Waiting = {
        kind,
        resolve: () => end(resolve),
        reject: (error) => end(() => reject(error)),
      };
      this.#waiting.add(waiting);
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #onEvent(event: AgentEvent): void {
    if (event.kind === 'connected') this.#isConnected = true;
    if (event.kind === 'disconnected') {
      this.#isConnected = false;
      this.onLost(event.detail);
    }
    if (event.kind === 'connect-failed') this.onRepeat(`session ${event.outcome.kind}`);
    for (const waiting of this.#waiting) {
      if (waiting.kind === event.kind) waiting.resolve();
      else if (event.kind === 'revoked')
        waiting.reject(new SimulatorError('REVOKED', 'the gateway revoked this device'));
      else if (waiting.kind === 'renewed' && event.kind === 'renewal-failed')
        this.#onRenewalFailed(waiting, event.error);
    }
  }

  /** What will not be granted ends the waiting; anything else the agent tries again. */
  #onRenewalFailed(waiting: Waiting, error: AgentError): void {
    if (error.code === 'GATEWAY_REFUSED' || error.code === 'CANDIDATE_REFUSED') waiting.reject(error);
    else this.onRepeat(error.code);
  }
}

const QUIET = { onStart() {}, onDone() {}, onPending() {} };

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
