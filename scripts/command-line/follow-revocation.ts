import { setTimeout as wait } from 'node:timers/promises';
import type { RevocationJobDetail } from '#gateway/contract/revocation-api.ts';
import type { OperatorClient } from './operator-client.ts';
import { startProgressBar } from './progress-bar.ts';

const ASK_EVERY_MS = 300;

/** Asks until the revocation runs no more. Broken off, it goes on without us. */
export async function followRevocation(
  operator: OperatorClient,
  begun: RevocationJobDetail,
): Promise<RevocationJobDetail> {
  if (begun.state !== 'running') return begun;
  let job = begun;
  using bar = startProgressBar(totalOf(job), 'certificates');
  while (job.state === 'running') {
    await wait(ASK_EVERY_MS);
    job = await operator.call<RevocationJobDetail>('showRevocation', { params: [job.id] });
    bar.advance(totalOf(job) - job.items.waiting, totalOf(job));
  }
  return job;
}

function totalOf({ items }: RevocationJobDetail): number {
  return items.waiting + items.revoked + items.unchanged + items.failed;
}
