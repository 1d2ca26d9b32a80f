import type { Page, TicketSummary } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { type Ticket, ticketState } from '#gateway/domain/ticket.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { page } from './list-devices.ts';
import type { RevocationPublisher } from './publish-revocations.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';
import { takeBackTicket } from './take-back-ticket.ts';

export type TicketDeps = { store: Store; clock: Clock };

export type RevokeTicketDeps = TicketDeps & ShutOutDeps & { revocations: Pick<RevocationPublisher, 'published'> };

export async function listTickets(
  deps: TicketDeps,
  query: { after?: string | undefined; limit: number },
): Promise<Page<TicketSummary>> {
  const now = deps.clock.now();
  const items = (await deps.store.read.tickets.list(query)).map((ticket) => summary(ticket, now));
  return page(items, query.limit, (item) => item.id);
}

/** @throws GatewayError NOT_FOUND, STATE_CONFLICT when it was spent already */
export async function revokeTicket(
  deps: RevokeTicketDeps,
  order: { id: string; actor: string },
): Promise<TicketSummary> {
  const now = deps.clock.now();
  const { revoked, ended } = await deps.store.write(async (tables) => {
    const ticket = await tables.tickets.find(order.id);
    if (ticket === undefined) throw new GatewayError('NOT_FOUND', `no ticket "${order.id}"`);
    if (ticket.spentAt !== null) {
      throw new GatewayError(
        'STATE_CONFLICT',
        'this ticket is spent: its device is enrolled; to take that back, revoke the device',
      );
    }
    const ended = ticket.revokedAt === null ? await takeBackTicket(tables, ticket, { now, actor: order.actor }) : [];
    return { revoked: summary({ ...ticket, revokedAt: ticket.revokedAt ?? now }, now), ended };
  });
  await shutOut(deps, ended, 'ticket taken back');
  if (ended.length > 0) await deps.revocations.published();
  return revoked;
}

function summary(ticket: Ticket, now: number): TicketSummary {
  const { id, deviceId, createdAt, expiresAt } = ticket;
  return { id, deviceId, state: ticketState(ticket, now), createdAt, expiresAt };
}
