import { AgentError } from '#device-agent/domain/agent-error.ts';
import { isPlainTopic, isTopicFilter, matchesFilter } from '#device-agent/domain/topic-filter.ts';
import type { MessageListener, MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';

type Listener = { filter: string; onMessage: MessageListener };

/**
 * The gateway has one session per device id, so local programs share the agent's: they publish under the device's own
 * `out/data` and listen to what comes. They never see notices.
 */
export class ApplicationDesk {
  readonly #topics: ReturnType<typeof deviceTopics>;
  readonly #ownData: string;
  readonly #listeners = new Set<Listener>();
  #session: MqttSession | undefined;

  constructor(deviceId: DeviceId) {
    this.#topics = deviceTopics(deviceId);
    this.#ownData = `${this.#topics.dataIn}/#`;
  }

  /** Resolves with the broker's PUBACK. @throws AgentError USAGE, GATEWAY_UNREACHABLE when there is no session. */
  async publish(subtopic: string, payload: string | Buffer): Promise<{ topic: string }> {
    if (!isPlainTopic(subtopic)) throw new AgentError('USAGE', 'a topic has no empty level and none of + #');
    const topic = `${this.#topics.dataOut}/${subtopic}`;
    if (!this.#session) throw new AgentError('GATEWAY_UNREACHABLE', 'the agent has no session now; try again');
    await this.#session.publish(topic, payload);
    return { topic };
  }

  /**
   * @param filter a whole filter that starts with `v1/`, else one below the device's own `in/data`. It stays over
   * reconnects until the returned function is called.
   * @throws AgentError USAGE, GATEWAY_REFUSED when the gateway does not allow it.
   */
  async listen(filter: string, onMessage: MessageListener): Promise<() => void> {
    const whole = filter.startsWith('v1/') ? filter : `${this.#topics.dataIn}/${filter}`;
    const forbidden =
      whole.startsWith('v1/d/') &&
      [this.#topics.notice, this.#topics.certificate].some((topic) => matchesFilter(whole, topic));
    if (!isTopicFilter(whole) || forbidden)
      throw new AgentError('USAGE', `"${filter}" is not a filter for data topics`);
    const listener = { filter: whole, onMessage };
    this.#listeners.add(listener);
    if (this.#session && !this.#isCovered(whole)) {
      const denied = await this.#session.subscribe([whole]);
      if (denied.length > 0) {
        this.#listeners.delete(listener);
        throw new AgentError('GATEWAY_REFUSED', `the gateway does not let this device read ${whole}`, {
          advice: 'the policy of its group decides: `gatehouse group show`',
        });
      }
    }
    return () => this.#forget(listener);
  }

  /** The filters of a new session besides the agent's own. */
  attach(session: MqttSession): string[] {
    this.#session = session;
    return [
      this.#ownData,
      ...new Set([...this.#listeners].map(({ filter }) => filter).filter((filter) => !this.#isCovered(filter))),
    ];
  }

  detach(): void {
    this.#session = undefined;
  }

  deliver(topic: string, payload: Buffer): void {
    for (const { filter, onMessage } of this.#listeners) {
      if (matchesFilter(filter, topic)) onMessage(topic, payload);
    }
  }

  #isCovered(filter: string): boolean {
    return filter === this.#ownData || filter.startsWith(`${this.#topics.dataIn}/`);
  }

  #forget(listener: Listener): void {
    this.#listeners.delete(listener);
    const { filter } = listener;
    if (this.#isCovered(filter) || [...this.#listeners].some((other) => other.filter === filter)) return;
    // Without it messages would come and be dropped: no harm if the session ends first.
    this.#session?.unsubscribe([filter]).catch(() => {});
  }
}

/** Whoever is in quarantine is acknowledged and not heard. */
export function quarantined(): AgentError {
  return new AgentError('GATEWAY_REFUSED', 'this device is in quarantine: its telemetry is not passed on', {
    advice: 'an operator of the gateway decides: `gatehouse alarm list`',
  });
}
