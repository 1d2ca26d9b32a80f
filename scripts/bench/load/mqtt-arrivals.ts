import type { LoadJob, LoadResult } from '#scripts/bench/load-jobs.ts';
import { arriveEvenly } from './arrive-evenly.ts';
import { ConnectionPool } from './connection-pool.ts';
import type { LoadIdentities } from './identities.ts';
import { askForRenewal, keepSessions } from './mqtt-renewals.ts';

type Job = LoadJob & { kind: 'arrive' };

/** Renewals over sessions that stay. When all are busy the next one waits for one, and its waiting counts. */
export async function arriveOverMqtt(identities: LoadIdentities, job: Job): Promise<LoadResult> {
  const kept = await keepSessions(identities, job);
  const pool = new ConnectionPool(kept);
  const result = await arriveEvenly(job, () =>
    pool.lend(async (renewing) => {
      const csr = renewing.csrs.pop() ?? '';
      const sentAt = performance.now();
      const { status, code, detail, retryAfter } = await askForRenewal(renewing, csr);
      if (status === 200) return { outcome: 'granted' };
      // As over EST: a refusal for lack of room says when to come again.
      if (status !== 503 || retryAfter === undefined) throw new Error(`${status} ${code}: ${detail}`);
      renewing.csrs.push(csr);
      return { outcome: 'refused', sentAt };
    }),
  );
  for (const { session } of kept) session.leave();
  return result;
}
