import type { Packet } from 'mqtt-packet';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import type { LoadJob, LoadResult } from '#scripts/bench/load-jobs.ts';
import { dial, hangUp } from './dial.ts';
import type { LoadIdentities } from './identities.ts';
import { type LoadSession, openMqtt } from './mqtt-session.ts';
import { runLoad } from './run-load.ts';

type Held = { session: LoadSession; closed: Promise<number>; hangUp: () => Promise<void> };

const CLOSED_MS = 15_000;

/** Sessions that stay. They acknowledge notices as an agent does, without checking the signature: that is the agent's cost. */
export class HeldSessions {
  readonly #identities: LoadIdentities;
  readonly #held = new Map<string, Held>();

  constructor(identities: LoadIdentities) {
    this.#identities = identities;
  }

  open(job: LoadJob & { kind: 'hold' }): Promise<LoadResult> {
    for (const deviceId of job.deviceIds) this.#identities.context(job.target.caFile, deviceId);
    return runLoad(job.deviceIds, job.concurrency, async (deviceId) => {
      const socket = await dial(job.target, this.#identities.context(job.target.caFile, deviceId), 'mqtt');
      const topics = deviceTopics(deviceId as DeviceId);
      const subscribed = Promise.withResolvers<void>();
      const session = await openMqtt(socket, deviceId, (packet, own) => {
        if (packet.cmd === 'suback') subscribed.resolve();
        if (packet.cmd === 'publish' && packet.topic === topics.notice) acknowledge(packet, own, topics.ack);
      });
      const closed = new Promise<number>((resolve) => {
        socket.once('close', () => resolve(monotonicMs()));
      });
      this.#held.set(deviceId, { session, closed, hangUp: () => hangUp(socket) });
      if (!job.subscribe) return;
      session.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: topics.notice, qos: 1 }] });
      await subscribed.promise;
    });
  }

  async waitUntilClosed(deviceIds: readonly string[]): Promise<LoadResult> {
    const closedAt: Record<string, number> = {};
    const result = await runLoad(deviceIds, deviceIds.length, async (deviceId) => {
      const held = this.#held.get(deviceId);
      if (!held) throw new Error(`${deviceId} holds no session`);
      const late = new Promise<never>((_, reject) => {
        setTimeout(() => reject(new Error(`the session of ${deviceId} is still open`)), CLOSED_MS).unref();
      });
      closedAt[deviceId] = await Promise.race([held.closed, late]);
      this.#held.delete(deviceId);
    });
    return { ...result, closedAt };
  }

  release(): Promise<LoadResult> {
    const all = [...this.#held.values()];
    this.#held.clear();
    return runLoad(all, all.length, async ({ session, hangUp }) => {
      session.leave();
      await hangUp();
    });
  }
}

function acknowledge(packet: Packet & { cmd: 'publish' }, session: LoadSession, topic: string): void {
  if (packet.messageId !== undefined) session.send({ cmd: 'puback', messageId: packet.messageId });
  const [, payload = ''] = packet.payload.toString().split('.');
  const { id: noticeId } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { id: string };
  const ack = JSON.stringify({ noticeId, outcome: 'done' });
  session.send({ cmd: 'publish', topic, payload: ack, qos: 1, messageId: 2, dup: false, retain: false });
}

/** CLOCK_MONOTONIC: the same in every process of a machine. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
