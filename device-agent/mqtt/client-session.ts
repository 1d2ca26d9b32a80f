import type { MqttClient } from 'mqtt';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { MessageListener, MqttSession } from '#device-agent/ports/mqtt-connector.ts';

const CLOSE_TIMEOUT_MS = 2000;
/** SUBACK: the filter was denied (MQTT 3.1.1 3.9.3). */
const DENIED = 0x80;

/** A session on a client that has its CONNACK 0. The client is used for this one connection and never again. */
export class ClientSession implements MqttSession {
  readonly ended: Promise<{ detail: string }>;
  readonly #client: MqttClient;
  #listener: MessageListener | undefined;

  /** @param client connected; its 'error' events are listened to by the caller before CONNACK and from here on. */
  constructor(client: MqttClient) {
    this.#client = client;
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

  async close(): Promise<void> {
    const timer = setTimeout(() => this.drop(), CLOSE_TIMEOUT_MS);
    this.#client.end(false);
    await this.ended;
    clearTimeout(timer);
  }

  drop(): void {
    this.#client.end(true);
  }

  /** The client never answers what was under way when the connection broke. */
  #whileOpen<T>(work: Promise<T>): Promise<T> {
    const broken = this.ended.then(({ detail }) => {
      throw new AgentError('GATEWAY_UNREACHABLE', `the MQTT session ended: ${detail}`);
    });
    return Promise.race([work, broken]);
  }
}
