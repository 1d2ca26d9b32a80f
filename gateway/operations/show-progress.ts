import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AuditEvent, EnrollmentProgress, Page } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { ticketState } from '#gateway/domain/ticket.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { page } from './list-devices.ts';

export type ProgressDeps = { store: Pick<Store, 'read'>; broker: Broker; clock: Clock };

/** What the gateway saw of a device since its newest ticket was made. @throws GatewayError NOT_FOUND */
export async function showProgress(deps: ProgressDeps, deviceId: DeviceId): Promise<EnrollmentProgress> {
  const { read } = deps.store;
  const tickets = await read.tickets.listByDevice(deviceId);
  const ticket = tickets.toSorted((a, b) => b.createdAt - a.createdAt)[0];
  if (ticket === undefined) throw new GatewayError('NOT_FOUND', `no ticket was ever made for "${deviceId}"`);
  const events = await read.audit.list({ subject: deviceId, since: ticket.createdAt, limit: 100 });
  const attempts = events.filter(({ action }) => action.startsWith('enrollment.') || action === 'session.refused');
  const issued = events.findLast((event) => event.action === 'certificate.issued');
  const opened = events.findLast((event) => event.action === 'session.opened');
  return {
    deviceId,
    ticketState: ticketState(ticket, deps.clock.now()),
    attempts: attempts.slice(0, 20).map(({ id, attemptId, at, outcome, code, detail }) => ({
      id: attemptId ?? String(id),
      at,
      outcome,
      code,
      detail,
    })),
    reachedAt: attempts.at(-1)?.at ?? issued?.at ?? null,
    issuedAt: issued?.at ?? null,
    connectedAt: deps.broker.sessionsOf(deviceId)[0]?.since ?? opened?.at ?? null,
  };
}

export async function listAudit(
  deps: Pick<ProgressDeps, 'store'>,
  query: {
    after?: string | undefined;
    limit: number;
    subject?: string;
    action?: string;
    attemptId?: string;
    since?: number;
  },
): Promise<Page<AuditEvent>> {
  return page(await deps.store.read.audit.list(query), query.limit, (event) => String(event.id));
}
