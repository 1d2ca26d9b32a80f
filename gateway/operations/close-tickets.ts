import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { endClaim } from './end-claim.ts';

/** What is unspent of a device's tickets opens nothing any more. Inside the caller's transaction, before any door is open. */
export async function closeTickets(
  tables: Tables,
  order: { deviceId: DeviceId; createdBefore: number; now: number; why: string },
): Promise<void> {
  const { deviceId, createdBefore, now, why } = order;
  for (const ticket of await tables.tickets.listByDevice(deviceId)) {
    if (ticket.revokedAt !== null || ticket.spentAt !== null || ticket.createdAt > createdBefore) continue;
    await tables.tickets.update(ticket.id, { revokedAt: now });
    await endClaim(tables, ticket, { now, actor: 'gateway', why });
  }
}
