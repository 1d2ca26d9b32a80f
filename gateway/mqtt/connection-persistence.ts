import { Readable } from 'node:stream';
import type { PublishPacket } from 'aedes';
import { filterCovers } from './topic-filter.ts';

const DONE: Promise<void> = Promise.resolve();
const NOTHING: Promise<never[]> = Promise.resolve([]);
const NONE: Promise<undefined> = Promise.resolve(undefined);

/**
 * What aedes may remember: nothing that outlives a connection, except the gateway's own retained notices.
 *
 * The broker keeps no sessions, subscriptions, queues or wills for a device, because stored subscriptions are stored
 * before they are authorized (a denied filter of a mixed SUBSCRIBE would come back at the next CONNECT) and queues have
 * no bound. What a device must not miss waits in the outbox instead.
 */
export class ConnectionPersistence {
  readonly #retained = new Map<string, PublishPacket>();
  /** QoS 2 packet ids between PUBLISH and PUBREL; by connection, so they end with it. */
  readonly #unreleased = new WeakMap<object, Set<number>>();

  async setup(): Promise<void> {}

  storeRetained(packet: PublishPacket): Promise<void> {
    if (packet.payload.length === 0) this.#retained.delete(packet.topic);
    else this.#retained.set(packet.topic, { ...packet });
    return DONE;
  }

  createRetainedStreamCombi(filters: string[]): Readable {
    const packets = [...this.#retained.values()].filter(({ topic }) =>
      filters.some((filter) => filterCovers(filter, topic)),
    );
    return packets.length === 0 ? emptyStream() : Readable.from(packets);
  }

  addSubscriptions(): Promise<void> {
    return DONE;
  }

  removeSubscriptions(): Promise<void> {
    return DONE;
  }

  subscriptionsByClient(): Promise<never[]> {
    return NOTHING;
  }

  subscriptionsByTopic(): Promise<never[]> {
    return NOTHING;
  }

  cleanSubscriptions(): Promise<void> {
    return DONE;
  }

  outgoingEnqueue(): Promise<void> {
    return DONE;
  }

  outgoingEnqueueCombi(): Promise<void> {
    return DONE;
  }

  outgoingUpdate(): Promise<void> {
    return DONE;
  }

  outgoingClearMessageId(): Promise<undefined> {
    return NONE;
  }

  outgoingStream(): Readable {
    return emptyStream();
  }

  incomingStorePacket(client: object, { messageId }: { messageId?: number | undefined }): Promise<void> {
    let ids = this.#unreleased.get(client);
    if (ids === undefined) {
      ids = new Set();
      this.#unreleased.set(client, ids);
    }
    if (messageId !== undefined) ids.add(messageId);
    return DONE;
  }

  /** Rejects when the packet id is not known: that is how aedes asks. */
  incomingGetPacket(client: object, { messageId }: { messageId?: number | undefined }): Promise<object> {
    const known = messageId !== undefined && this.#unreleased.get(client)?.has(messageId) === true;
    return known ? Promise.resolve({ messageId }) : Promise.reject(new Error('no such packet'));
  }

  incomingDelPacket(client: object, { messageId }: { messageId?: number | undefined }): Promise<void> {
    if (messageId !== undefined) this.#unreleased.get(client)?.delete(messageId);
    return DONE;
  }

  cleanIncoming(client: object): Promise<void> {
    this.#unreleased.delete(client);
    return DONE;
  }

  /** A will lives in its connection; stored ones are for brokers that take over from others. */
  putWill(): Promise<void> {
    return DONE;
  }

  getWill(): Promise<undefined> {
    return NONE;
  }

  delWill(): Promise<undefined> {
    return NONE;
  }

  streamWill(): Readable {
    return emptyStream();
  }

  getClientList(): Readable {
    return emptyStream();
  }

  async destroy(): Promise<void> {
    this.#retained.clear();
  }
}

/** A stream that is over, without the cost of an iterator. */
function emptyStream(): Readable {
  return new Readable({
    objectMode: true,
    read() {
      this.push(null);
    },
  });
}
