import type { TLSSocket } from 'node:tls';
import type { MqttClient } from 'mqtt';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { channelBindingOf } from '#device-agent/domain/channel-binding.ts';
import type { MessageListener, MqttSession } from '#device-agent/ports/mqtt-connector.ts';

const CLOSE_TIMEOUT_MS = 2000;
/** SUBACK: the filter was denied (MQTT 3.1.1 3.9.3). */
const DENIED = 0x80;

/** A session on a client that has its CONNACK 0. The client is used for this one connection and never again. */
export class ClientSession implements MqttSession {
  readonly ended: Promise<{ detail: string }>;
  readonly #client: MqttClient;
  readonly #socket: TLSSocket;
  #listener: MessageListener | undefined;

  /** @param client connected; its 'error' events are listened to by the caller before CONNACK and from here on. */
  constructor(client: MqttClient, socket: TLSSocket) {
    this.#client = client;
    this.#socket = socket;
    let lastError = 'the connection was closed';
    client.on('error', (error) => {
      lastError = error.message;
    });
    client.on('message', (topic, payload) => this.#listener?.(topic, payload));
    this.ended = new Promise((resolve) => {
      client.once('close', () => resolve({ detail: lastError }));
    });
  }

  onMessage(listener: MessageListener): void {
    this.#listener = listener;
  }

  async subscribe(filters: string[]): Promise<string[]> {
    return this.#whileOpen(
      new Promise((resolve, reject) => {
        this.#client.subscribe(filters, { qos: 1 }, (error, _granted, suback) => {
          // The client reports a denied filter as an error; the SUBACK tells which.
          const codes = suback?.granted;
          if (codes === undefined) reject(error ?? new Error('no SUBACK'));
          else resolve(filters.filter((_, index) => codes[index] === DENIED));
        });
      }),
    );
  }

  async unsubscribe(filters: string[]): Promise<void> {
    await this.#whileOpen(this.#client.unsubscribeAsync(filters));
  }

  async publish(topic: string, payload: string | Buffer): Promise<void> {
    await this.#whileOpen(this.#client.publishAsync(topic, payload, { qos: 1 }));
  }

  channelBinding(): Buffer {
    const binding = this.#socket.destroyed ? undefined : channelBindingOf(this.#socket);
    if (!binding) throw new AgentError('GATEWAY_UNREACHABLE', 'the MQTT session ended');
    return binding;
  }

  async close(): Promise<void> {
    const timer = setTimeout(() => this.drop(), CLOSE_TIMEOUT_MS);
    this.#client.end(false);
    await this.ended;
    clearTimeout(timer);
  }

  drop(): void {
    this.#client.end(true);
  }

  /** The client never answers what was under way when the connection broke. @throws AgentError GATEWAY_UNREACHABLE */
  async #whileOpen<T>(work: Promise<T>): Promise<T> {
    const broken = this.ended.then(({ detail }) => {
      throw new AgentError('GATEWAY_UNREACHABLE', `the MQTT session ended: ${detail}`);
    });
    try {
      return await Promise.race([work, broken]);
    } catch (error) {
      throw asAgentError(error, 'GATEWAY_UNREACHABLE');
    }
  }
}
