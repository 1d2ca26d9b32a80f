import type { RevocationJobState } from '#gateway/contract/operator-api.ts';
import type { RevocationJobDetail } from '#gateway/contract/revocation-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { OrderRevocationDeps } from './order-revocation.ts';
import { requireJob, showRevocation } from './show-revocations.ts';

type Steering = { id: string; actor: string };

/** What is revoked stays revoked; the rest waits. @throws GatewayError NOT_FOUND, STATE_CONFLICT */
export function pauseRevocation(deps: OrderRevocationDeps, order: Steering): Promise<RevocationJobDetail> {
  return change(deps, order, { from: ['running'], to: 'paused', action: 'revocation.paused' });
}

/** @param order.rate certificates per second from now on; left out: as before. @throws GatewayError NOT_FOUND, STATE_CONFLICT */
export async function resumeRevocation(
  deps: OrderRevocationDeps,
  order: Steering & { rate?: number },
): Promise<RevocationJobDetail> {
  const { rate } = order;
  const job = await change(deps, order, {
    from: ['paused'],
    to: 'running',
    action: 'revocation.resumed',
    ...(rate === undefined ? {} : { rate }),
  });
  // The run that was paused may just be ending, and would not look again.
  void deps.revocationJobs.work(job).then(() => deps.revocationJobs.takeUp());
  return job;
}

/** What is revoked stays revoked; the rest is left alone for good. @throws GatewayError NOT_FOUND, STATE_CONFLICT */
export function cancelRevocation(deps: OrderRevocationDeps, order: Steering): Promise<RevocationJobDetail> {
  return change(deps, order, { from: ['running', 'paused'], to: 'cancelled', action: 'revocation.cancelled' });
}

type Change = {
  from: readonly RevocationJobState[];
  to: RevocationJobState;
  action: 'revocation.paused' | 'revocation.resumed' | 'revocation.cancelled';
  rate?: number;
};

async function change(
  deps: OrderRevocationDeps,
  { id, actor }: Steering,
  { from, to, action, rate }: Change,
): Promise<RevocationJobDetail> {
  const now = deps.clock.now();
  await deps.store.write(async (tables) => {
    const job = await requireJob({ store: { read: tables } }, id);
    if (!from.includes(job.state))
      throw new GatewayError(
        'STATE_CONFLICT',
        `the revocation is ${job.state}; only one that is ${from.join(' or ')} can be ${to}`,
      );
    const finishedAt = to === 'cancelled' ? now : null;
    await tables.revocationJobs.update(id, { state: to, finishedAt, ...(rate === undefined ? {} : { rate }) });
    await tables.audit.append(
      auditEntry({ at: now, actor, action, subject: id, detail: `${job.scope} ${job.target}` }),
    );
  });
  return showRevocation(deps, id);
}
