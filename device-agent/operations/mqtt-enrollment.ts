import { AgentError } from '#device-agent/domain/agent-error.ts';
import { reconnectDelay } from '#device-agent/domain/backoff.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EnrollmentSession } from '#device-agent/ports/enrollment-session.ts';
import type { GatewayTrust, TlsIdentity } from '#device-agent/ports/est-client.ts';
import type { ConnectOutcome, MqttConnector, MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { enrollTopics } from '#gateway/contract/topics.ts';
import { explainOutcome, KEEPALIVE_SECONDS } from './confirm-session.ts';
import { CsrConversation } from './csr-conversation.ts';

export type MqttEnrollmentDeps = { mqtt: MqttConnector; clock: Clock; randomness: Randomness };

export type MqttEnrollmentTarget = {
  address: { host: string; port: number };
  /** Read at every attempt: what is known of the time may have changed. */
  trust: () => GatewayTrust;
  /** Milliseconds UTC. */
  now: () => number;
  /** A claim's or the maker's, or one of the device's own that has expired. */
  identity: TlsIdentity;
  deviceId: DeviceId;
  /** The group to ask for. */
  label?: string;
  /** Milliseconds UTC: the end of the certificate shown, by which a connection that is cut may be explained. */
  endsAt: number;
  /** What to do when the broker does not let this identity in. */
  advice: string;
};

const FIRST_ATTEMPTS = 3;

/**
 * The enrolment topics, with an identity that opens nothing else: of a claim, of the maker, or expired. A session that
 * ends is made anew at the next request: the same request gets the same answer.
 */
export class MqttEnrollment implements EnrollmentSession {
  readonly #deps: MqttEnrollmentDeps;
  readonly #target: MqttEnrollmentTarget;
  #open: { conversation: CsrConversation; session: MqttSession } | undefined;
  #hasBeenIn = false;

  constructor(deps: MqttEnrollmentDeps, target: MqttEnrollmentTarget) {
    this.#deps = deps;
    this.#target = target;
  }

  /** The first session. @throws AgentError GATEWAY_UNREACHABLE, GATEWAY_BUSY, GATEWAY_REFUSED, GATEWAY_UNTRUSTED, STOPPED */
  async start(signal?: AbortSignal): Promise<void> {
    const { clock, randomness } = this.#deps;
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#connect(signal);
      if (outcome === undefined) return;
      if (signal?.aborted === true) throw new AgentError('STOPPED', 'stopped while connecting');
      const mayChange = outcome.kind === 'closed' || outcome.kind === 'unreachable' || isBusy(outcome);
      if (!mayChange || attempt === FIRST_ATTEMPTS) throw this.#explain(outcome);
      await clock.wait(reconnectDelay(attempt - 1, randomness.fraction()), signal);
    }
  }

  async fetchCaCertificates(): Promise<Buffer[]> {
    return [];
  }

  async wantsBinding(): Promise<boolean> {
    return false;
  }

  async channelBinding(signal?: AbortSignal): Promise<Buffer> {
    return (await this.#conversation(signal)).channelBinding();
  }

  async enroll(...[request, signal]: Parameters<EnrollmentSession['enroll']>): ReturnType<EnrollmentSession['enroll']> {
    return (await this.#conversation(signal)).enroll(request, signal);
  }

  async requestTpmChallenge(
    ...[request, signal]: Parameters<EnrollmentSession['requestTpmChallenge']>
  ): ReturnType<EnrollmentSession['requestTpmChallenge']> {
    return (await this.#conversation(signal)).requestTpmChallenge(request, signal);
  }

  close(): void {
    void this.#open?.session.close();
    this.#open = undefined;
  }

  async #conversation(signal: AbortSignal | undefined): Promise<CsrConversation> {
    if (!this.#open) {
      const outcome = await this.#connect(signal);
      if (signal?.aborted === true) throw new AgentError('STOPPED', 'stopped while connecting');
      if (outcome) throw this.#explain(outcome);
    }
    if (!this.#open) throw new AgentError('GATEWAY_UNREACHABLE', 'the MQTT session ended at once');
    return this.#open.conversation;
  }

  /** @returns undefined when there is a session, subscribed. */
  async #connect(signal: AbortSignal | undefined): Promise<Exclude<ConnectOutcome, { kind: 'connected' }> | undefined> {
    const { address, trust, identity, deviceId, label } = this.#target;
    const outcome = await this.#deps.mqtt.connect(
      { address, trust: trust(), identity, clientId: deviceId, keepaliveSeconds: KEEPALIVE_SECONDS },
      signal,
    );
    if (outcome.kind !== 'connected') return outcome;
    const { session } = outcome;
    const topics = enrollTopics(deviceId);
    const conversation = new CsrConversation(this.#deps, session, {
      topic: topics.csr,
      ...(label === undefined ? {} : { label }),
    });
    session.onMessage((topic, payload) => {
      if (topic === topics.certificate) conversation.receive(payload);
    });
    const denied = await session.subscribe([topics.certificate]);
    if (denied.length > 0) {
      session.drop();
      throw new AgentError('GATEWAY_REFUSED', `the gateway does not let this identity enroll as "${deviceId}"`, {
        advice: this.#target.advice,
      });
    }
    this.#open = { conversation, session };
    this.#hasBeenIn = true;
    void this.#forgetAtEnd(session);
    return undefined;
  }

  async #forgetAtEnd(session: MqttSession): Promise<void> {
    await session.ended;
    if (this.#open?.session === session) this.#open = undefined;
  }

  #explain(outcome: Exclude<ConnectOutcome, { kind: 'connected' }>): AgentError {
    const error = explainOutcome(outcome);
    const { endsAt, advice, now } = this.#target;
    const hasEnded = now() > endsAt;
    // It has been let in before: what cuts it off now is the network or a restart, unless its time is over.
    if (outcome.kind === 'closed' && this.#hasBeenIn && !hasEnded)
      return new AgentError('GATEWAY_UNREACHABLE', error.message, { cause: error });
    if (error.code !== 'GATEWAY_REFUSED') return error;
    const ended = hasEnded ? `; the certificate shown has ended ${new Date(endsAt).toISOString()}` : '';
    return new AgentError('GATEWAY_REFUSED', `${error.message}${ended}`, { advice });
  }
}

function isBusy(outcome: ConnectOutcome): boolean {
  return outcome.kind === 'refused' && explainOutcome(outcome).code === 'GATEWAY_BUSY';
}
