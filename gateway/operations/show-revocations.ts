import type { Page, RevocationJobState } from '#gateway/contract/operator-api.ts';
import type { RevocationJobDetail, RevocationJobItemDetail } from '#gateway/contract/revocation-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { RevocationJob, RevocationJobItem } from '#gateway/domain/revocation-job.ts';
import type { Store } from '#gateway/ports/store.ts';
import { page } from './list-devices.ts';
import { noteOn } from './revocation-targets.ts';

export type ShowRevocationsDeps = { store: Pick<Store, 'read'> };

type Paging = { after?: string | undefined; limit: number };

/** @throws GatewayError NOT_FOUND */
export async function showRevocation(deps: ShowRevocationsDeps, id: string): Promise<RevocationJobDetail> {
  return describe(deps, await requireJob(deps, id));
}

/** Newest first. */
export async function listRevocations(
  deps: ShowRevocationsDeps,
  query: Paging & { state?: RevocationJobState },
): Promise<Page<RevocationJobDetail>> {
  const jobs = await deps.store.read.revocationJobs.list(query);
  const items: RevocationJobDetail[] = [];
  for (const job of jobs) items.push(await describe(deps, job));
  return page(items, query.limit, ({ id }) => id);
}

/** By serial. @throws GatewayError NOT_FOUND */
export async function listRevocationItems(
  deps: ShowRevocationsDeps,
  query: Paging & { id: string; state?: RevocationJobItem['state'] },
): Promise<Page<RevocationJobItemDetail>> {
  const { id, ...rest } = query;
  await requireJob(deps, id);
  const found = await deps.store.read.revocationJobs.listItems(id, rest);
  const items = found.map(({ serial, deviceId, state, closedAfterMs, detail }) => ({
    serial,
    deviceId,
    state,
    closedAfterMs,
    detail,
  }));
  return page(items, query.limit, ({ serial }) => serial);
}

export async function requireJob({ store }: ShowRevocationsDeps, id: string): Promise<RevocationJob> {
  const job = await store.read.revocationJobs.find(id);
  if (job === undefined)
    throw new GatewayError('NOT_FOUND', `there is no revocation "${id}"; see: gatehouse revoke status`);
  return job;
}

async function describe({ store }: ShowRevocationsDeps, job: RevocationJob): Promise<RevocationJobDetail> {
  const counts = await store.read.revocationJobs.countItems(job.id);
  const times = await store.read.revocationJobs.listClosedAfter(job.id);
  return {
    ...job,
    ...(await noteOn(store.read, job)),
    items: {
      waiting: counts.get('waiting') ?? 0,
      revoked: counts.get('revoked') ?? 0,
      unchanged: counts.get('unchanged') ?? 0,
      failed: counts.get('failed') ?? 0,
    },
    closed:
      times.length === 0
        ? null
        : { sessions: times.length, p50: at(times, 0.5), p99: at(times, 0.99), max: times.at(-1) ?? 0 },
  };
}

/** Nearest rank, of times that are sorted. */
function at(times: readonly number[], share: number): number {
  return times[Math.max(0, Math.ceil(times.length * share) - 1)] ?? 0;
}
