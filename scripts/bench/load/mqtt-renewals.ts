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
type Renewing = { deviceId: DeviceId; session: LoadSession; answers: Map<string, (answer: CsrAnswer) => void> };

const ANSWER_MS = 15_000;
const DIALS_AT_ONCE = 16;

/** CSRs over sessions that stay. Who is answered has its certificate in the same message. */
export async function renewOverMqtt(identities: LoadIdentities, job: Job): Promise<LoadResult> {
  const { target, deviceIds, each, concurrency } = job;
  for (const deviceId of deviceIds) identities.context(target.caFile, deviceId);
  const csrs = deviceIds.flatMap((deviceId) =>
    Array.from({ length: each }, (_, turn) => ({ deviceId, turn, csr: identities.renewalCsr(deviceId) })),
  );
  const sessions = new Map<string, Renewing>();
  const opened = await runLoad(deviceIds, DIALS_AT_ONCE, async (deviceId) => {
    sessions.set(deviceId, await open(identities, target, deviceId as DeviceId));
  });
  if (opened.failed > 0) throw new Error(`${opened.failed} sessions not opened, the first: ${opened.firstFailure}`);
  const result = await runLoad(
    csrs.toSorted((a, b) => a.turn - b.turn),
    concurrency,
    async ({ deviceId, turn, csr }) => {
      const renewing = sessions.get(deviceId);
      if (renewing === undefined) throw new Error(`${deviceId} has no session`);
      const { status, code, detail } = await ask(renewing, { version: 1, requestId: `renewal-${turn}`, csr });
      if (status !== 200) throw new Error(`${status} ${code}: ${detail}`);
    },
    job.watch,
  );
  for (const { session } of sessions.values()) session.leave();
  return result;
}

/** Connected and subscribed to its answers, which it acknowledges. */
async function open(identities: LoadIdentities, target: Job['target'], deviceId: DeviceId): Promise<Renewing> {
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
  const socket = await dial(target, identities.context(target.caFile, deviceId), 'mqtt');
  const session = await openMqtt(socket, deviceId, onPacket);
  session.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: topics.certificate, qos: 1 }] });
  await subscribed.promise;
  return { deviceId, session, answers };
}

async function ask({ deviceId, session, answers }: Renewing, message: CsrMessage): Promise<CsrAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<CsrAnswer>();
  const timer = setTimeout(() => reject(new Error(`no answer for ${deviceId} in ${ANSWER_MS / 1000} s`)), ANSWER_MS);
  answers.set(message.requestId, resolve);
  const payload = JSON.stringify(message);
  // QoS 0: the answer says that it arrived.
  session.send({ cmd: 'publish', topic: deviceTopics(deviceId).csr, payload, qos: 0, dup: false, retain: false });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    answers.delete(message.requestId);
  }
}
