import type { LoadJob, LoadResult } from '#scripts/bench/load-jobs.ts';
import { arriveEvenly, type Reception } from './arrive-evenly.ts';
import { ConnectionLost } from './connection-lost.ts';
import { ConnectionPool } from './connection-pool.ts';
import { dial } from './dial.ts';
import { basicHeader, type EstReply, postCsr, requireIssued } from './est-request.ts';
import type { LoadIdentities } from './identities.ts';
import { hangUpAll, keepConnections, requireOpen } from './kept-connections.ts';

type Job = LoadJob & { kind: 'arrive' };

/** First enrollments, each on a new connection; who is refused comes again later, in the place of another. */
export async function arriveWithTickets(identities: LoadIdentities, job: Job): Promise<LoadResult> {
  const context = identities.context(job.target.caFile);
  const waiting = [...job.deviceIds];
  const enrolled: string[] = [];
  const result = await arriveEvenly(job, async () => {
    const deviceId = waiting.shift();
    if (deviceId === undefined) throw new Error('more came than tickets were made');
    const device = identities.find(deviceId);
    const socket = await dial(job.target, context, 'http/1.1');
    const sentAt = performance.now();
    const reply = await postCsr(socket, 'simpleenroll', device.csr, basicHeader(deviceId, device.ticket));
    socket.destroy();
    const reception = receptionOf(reply, sentAt);
    if (reception.outcome === 'granted') {
      device.answer = reply.body;
      enrolled.push(deviceId);
    } else waiting.push(deviceId);
    return reception;
  });
  return { ...result, enrolled };
}

/** Renewals on kept connections. When all are busy the next one waits for one, and its waiting counts. */
export async function arriveToRenew(identities: LoadIdentities, job: Job): Promise<LoadResult> {
  const { target } = job;
  const kept = await keepConnections(identities, job);
  const pool = new ConnectionPool(kept);
  const result = await arriveEvenly(job, () =>
    pool.lend(async (connection) => {
      const socket = await requireOpen(connection, (deviceId) =>
        dial(target, identities.context(target.caFile, deviceId), 'http/1.1'),
      );
      const { csrs } = connection;
      const csr = csrs.pop() ?? '';
      const sentAt = performance.now();
      try {
        const reception = receptionOf(await postCsr(socket, 'simplereenroll', csr), sentAt);
        if (reception.outcome === 'refused') csrs.push(csr);
        return reception;
      } catch (error) {
        if (error instanceof ConnectionLost) csrs.push(csr);
        throw error;
      }
    }),
  );
  await hangUpAll(kept);
  return result;
}

/** RFC 7030 4.2.3 and RFC 9110 15.6.4: a refusal for lack of room says when to come again. @throws Error of any other */
function receptionOf(reply: EstReply, sentAt: number): Reception {
  if (reply.status === 503 && reply.retryAfter) return { outcome: 'refused', sentAt };
  requireIssued(reply);
  return { outcome: 'granted' };
}
