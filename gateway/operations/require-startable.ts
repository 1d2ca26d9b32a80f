import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';

/** What stands with a campaign until all of its devices stand in it; what a crash leaves is for a person to abort. */
export const BEING_PREPARED = 'being prepared';

/**
 * Two campaigns over the same devices would count each other's renewals, and tell them twice as fast as either may.
 * @param order.group null: all devices @param order.id of the campaign that is to run, when there is one already
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function requireStartable(
  tables: Pick<Tables, 'groups' | 'renewalCampaigns'>,
  { group, id }: { group: string | null; id?: string },
): Promise<void> {
  if (group !== null && (await tables.groups.find(group)) === undefined)
    throw new GatewayError('NOT_FOUND', `there is no group "${group}"`);
  for (const state of ['running', 'paused'] as const) {
    const others = await tables.renewalCampaigns.list({ state, limit: 1000 });
    const other = others.find(
      (each) => each.id !== id && (each.group === null || group === null || each.group === group),
    );
    if (other === undefined) continue;
    throw new GatewayError(
      'STATE_CONFLICT',
      `campaign ${other.id} over the same devices is ${state}: gatehouse renewal abort ${other.id}`,
    );
  }
}
