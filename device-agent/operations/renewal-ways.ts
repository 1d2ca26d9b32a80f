import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EstClient, GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import { CsrConversation } from './csr-conversation.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';
import type { RenewalWay } from './renew-certificate.ts';

/** A session that was just lost is usually back soon. */
const SESSION_PATIENCE_MS = 20_000;

/** From the first report of a session until the gateway has answered it with what it has to say. */
const SETTLED_AFTER_MS = 5_000;

/** The ways to the gateway for a renewal: EST with the current certificate, or the MQTT session that lives anyway. */
export class RenewalWays {
  readonly #deps: { est: EstClient; clock: Clock };
  #attached = Promise.withResolvers<void>();
  #conversation: CsrConversation | undefined;
  /** Monotonic. */
  #attachedAt = 0;

  constructor(deps: { est: EstClient; clock: Clock }) {
    this.#deps = deps;
  }

  /** A session with the current certificate is there, subscribed to its answers. */
  attach(session: MqttSession, config: AgentConfig): void {
    const conversation = new CsrConversation(this.#deps, session, { topic: deviceTopics(config.deviceId).csr });
    this.#conversation = conversation;
    this.#attachedAt = this.#deps.clock.monotonic();
    this.#attached.resolve();
    this.#attached = Promise.withResolvers();
  }

  /** Resolves when a session is old enough for notices that answer the device's report, or there is none for a while. */
  async settled(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    await this.#attachment(signal);
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
  choose({ config, trust, identity }: { config: AgentConfig; trust: GatewayTrust; identity: Identity }): RenewalWay[] {
    const est: RenewalWay = {
      via: 'est',
      // RFC 7030 3.3.2: TLS with the certificate that is to be renewed.
      open: async () => this.#deps.est.openSession({ address: config.est, trust, identity: tlsIdentityOf(identity) }),
    };
    const mqtt: RenewalWay = { via: 'mqtt', open: (signal) => this.#whenAttached(signal) };
    switch (config.renewVia) {
      case 'est':
        return [est];
      case 'mqtt':
        return [mqtt];
      case 'auto':
        return [est, mqtt];
    }
  }

  async #whenAttached(signal: AbortSignal): Promise<CsrConversation> {
    await this.#attachment(signal);
    if (this.#conversation) return this.#conversation;
    throw new AgentError('GATEWAY_UNREACHABLE', 'there is no MQTT session to renew over');
  }

  /** Waits for a session, but not for ever. */
  async #attachment(signal: AbortSignal): Promise<void> {
    if (this.#conversation) return;
    const over = new AbortController();
    const patience = this.#deps.clock.wait(SESSION_PATIENCE_MS, AbortSignal.any([signal, over.signal]));
    await Promise.race([this.#attached.promise, patience]);
    over.abort();
  }
}
