import type { TLSSocket } from 'node:tls';
import type { Packet } from 'mqtt-packet';
import type { CsrAnswer, CsrMessage } from '#gateway/contract/csr-messages.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import type { LoadJob, LoadResult } from '#scripts/bench/load-jobs.ts';
import { dial } from './dial.ts';
import type { LoadIdentities } from './identities.ts';
import { type LoadSession, openMqtt } from './mqtt-session.ts';
import { runLoad } from './run-load.ts';

type Job = LoadJob & { kind: 'renew' };
/** A session of one device and the CSRs it may still send. */
export type Renewing = {
  deviceId: DeviceId;
  session: LoadSession;
  csrs: string[];
  answers: Map<string, (answer: CsrAnswer) => void>;
  asked: number;
};

const ANSWER_MS = 15_000;
const DIALS_AT_ONCE = 16;

/** CSRs over sessions that stay. Who is answered has its certificate in the same message. */
export async function renewOverMqtt(identities: LoadIdentities, job: Job): Promise<LoadResult> {
  const kept = await keepSessions(identities, job);
  const turns = kept.flatMap((renewing) => renewing.csrs.map((csr, turn) => ({ renewing, csr, turn })));
  const result = await runLoad(
    turns.toSorted((a, b) => a.turn - b.turn),
    job.concurrency,
    async ({ renewing, csr }) => {
      const { status, code, detail } = await askForRenewal(renewing, csr);
      if (status !== 200) throw new Error(`${status} ${code}: ${detail}`);
    },
    job.watch,
  );
  for (const { session } of kept) session.leave();
  return result;
}

/** A session and `each` CSRs with new keys for every device, all made before the clock runs. */
export async function keepSessions(
  identities: LoadIdentities,
  { target, deviceIds, each }: Pick<Job, 'target' | 'deviceIds' | 'each'>,
): Promise<Renewing[]> {
  const kept: Renewing[] = [];
  const planned = deviceIds.map((deviceId) => ({
    deviceId: deviceId as DeviceId,
    context: identities.context(target.caFile, deviceId),
    csrs: Array.from({ length: each }, () => identities.renewalCsr(deviceId)),
  }));
  const opened = await runLoad(planned, DIALS_AT_ONCE, async ({ deviceId, context, csrs }) => {
    kept.push({ ...(await open(await dial(target, context, 'mqtt'), deviceId)), csrs });
  });
  if (opened.failed > 0) throw new Error(`${opened.failed} sessions not opened, the first: ${opened.firstFailure}`);
  return kept;
}

/** Connected and subscribed to its answers, which it acknowledges. */
async function open(socket: TLSSocket, deviceId: DeviceId): Promise<Omit<Renewing, 'csrs'>> {
  const topics = deviceTopics(deviceId);
  const answers: Renewing['answers'] = new Map();
  const subscribed = Promise.withResolvers<void>();
  const onPacket = (packet: Packet, own: LoadSession): void => {
    if (packet.cmd === 'suback') subscribed.resolve();
    if (packet.cmd !== 'publish' || packet.topic !== topics.certificate) return;
    if (packet.messageId !== undefined) own.send({ cmd: 'puback', messageId: packet.messageId });
    const answer = JSON.parse(packet.payload.toString()) as CsrAnswer;
    answers.get(answer.requestId)?.(answer);
  };
  const session = await openMqtt(socket, deviceId, onPacket);
  session.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: topics.certificate, qos: 1 }] });
  await subscribed.promise;
  return { deviceId, session, answers, asked: 0 };
}

/** One request and its answer. */
export async function askForRenewal(renewing: Renewing, csr: string): Promise<CsrAnswer> {
  const { deviceId, session, answers } = renewing;
  const requestId = `renewal-${renewing.asked}`;
  renewing.asked += 1;
  const { promise, resolve, reject } = Promise.withResolvers<CsrAnswer>();
  const timer = setTimeout(() => reject(new Error(`no answer for ${deviceId} in ${ANSWER_MS / 1000} s`)), ANSWER_MS);
  answers.set(requestId, resolve);
  const payload = JSON.stringify({ version: 1, requestId, csr } satisfies CsrMessage);
  // QoS 0: the answer says that it arrived.
  session.send({ cmd: 'publish', topic: deviceTopics(deviceId).csr, payload, qos: 0, dup: false, retain: false });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    answers.delete(requestId);
  }
}
