import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EnrollmentSession } from '#device-agent/ports/enrollment-session.ts';
import type { EstClient, GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import { CsrConversation } from './csr-conversation.ts';
import type { Asking, ExpiredLane } from './expired-lane.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';
import type { RenewalWay } from './renew-certificate.ts';

/** A session that was just lost is usually back soon. */
const SESSION_PATIENCE_MS = 20_000;

/** From the first report of a session until the gateway has answered it with what it has to say. */
const SETTLED_AFTER_MS = 5_000;

export type RenewalWaysDeps = { est: EstClient; clock: Clock; lane: Pick<ExpiredLane, 'hasEnded' | 'open'> };

/**
 * The ways to the gateway for a renewal: EST with the current certificate, or MQTT: the session that lives anyway, and
 * when the certificate has expired one that is made for it.
 */
export class RenewalWays {
  readonly #deps: RenewalWaysDeps;
  #attached = Promise.withResolvers<void>();
  #conversation: CsrConversation | undefined;
  /** The last attempt to make a session has failed. */
  #isWithout = false;
  #failed = Promise.withResolvers<void>();
  /** Monotonic. */
  #attachedAt = 0;

  constructor(deps: RenewalWaysDeps) {
    this.#deps = deps;
  }

  /** A session with the current certificate is there, subscribed to its answers. */
  attach(session: MqttSession, config: AgentConfig): void {
    const conversation = new CsrConversation(this.#deps, session, { topic: deviceTopics(config.deviceId).csr });
    this.#conversation = conversation;
    this.#isWithout = false;
    this.#attachedAt = this.#deps.clock.monotonic();
    this.#attached.resolve();
    this.#attached = Promise.withResolvers();
  }

  /** An attempt to make a session has failed. */
  noSession(): void {
    this.#isWithout = true;
    this.#failed.resolve();
    this.#failed = Promise.withResolvers();
  }

  /**
   * Resolves when a session is old enough for notices that answer the device's report, or there is none for a while: at
   * once, when the certificate has expired and was refused.
   */
  async settled(identity: Identity, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    await this.#attachment(identity, signal);
    const leftMs = this.#attachedAt + SETTLED_AFTER_MS - clock.monotonic();
    if (this.#conversation !== undefined && leftMs > 0) await clock.wait(leftMs, signal);
  }

  detach(): void {
    this.#conversation = undefined;
  }

  /** What came on the topic of answers. */
  receive(payload: Buffer): void {
    this.#conversation?.receive(payload);
  }

  /** In the order in which they are to be tried. */
  choose(asking: Asking & { trust: GatewayTrust }): RenewalWay[] {
    const { config, trust, identity } = asking;
    const est: RenewalWay = {
      via: 'est',
      // RFC 7030 3.3.2: TLS with the certificate that is to be renewed.
      open: async () => this.#deps.est.openSession({ address: config.est, trust, identity: tlsIdentityOf(identity) }),
    };
    const mqtt: RenewalWay = { via: 'mqtt', open: (signal) => this.#openMqtt(asking, signal) };
    switch (config.renewVia) {
      case 'est':
        return [est];
      case 'mqtt':
        return [mqtt];
      case 'auto':
        return [est, mqtt];
    }
  }

  async #openMqtt(asking: Asking, signal: AbortSignal): Promise<EnrollmentSession> {
    const { lane } = this.#deps;
    const { identity } = asking;
    // Whoever gets a session has not expired: then it is the clock that is wrong.
    await this.#attachment(identity, signal);
    if (this.#conversation) return this.#conversation;
    if (lane.hasEnded(identity) && !signal.aborted) return lane.open(asking, signal);
    throw new AgentError('GATEWAY_UNREACHABLE', 'there is no MQTT session to renew over');
  }

  /** Waits for a session, but not for ever; with a certificate that has expired only until an attempt has failed. */
  async #attachment(identity: Identity, signal: AbortSignal): Promise<void> {
    const hasEnded = this.#deps.lane.hasEnded(identity);
    if (this.#conversation || (hasEnded && this.#isWithout)) return;
    const over = new AbortController();
    const patience = this.#deps.clock.wait(SESSION_PATIENCE_MS, AbortSignal.any([signal, over.signal]));
    await Promise.race([this.#attached.promise, patience, ...(hasEnded ? [this.#failed.promise] : [])]);
    over.abort();
  }
}
