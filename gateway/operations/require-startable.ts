import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';

/** What stands with a campaign until all of its devices stand in it; what a crash leaves is ended by the next turn (see endCutOff). */
export const BEING_PREPARED = 'being prepared';

/**
 * Two campaigns that tell the same devices would count each other's renewals, and tell them twice as fast as either may.
 * One that has told all of its devices and waits for those that are away is in nobody's way: they are taken over.
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
    const overlapping = others.filter(
      (each) => each.id !== id && (each.group === null || group === null || each.group === group),
    );
    for (const other of overlapping) {
      // Of one that is being prepared not even its devices are known.
      const isTelling =
        other.detail === BEING_PREPARED || (await tables.renewalCampaigns.hasItems(other.id, 'waiting'));
      if (!isTelling) continue;
      throw new GatewayError(
        'STATE_CONFLICT',
        `campaign ${other.id} over the same devices is ${state} and has not told all of them yet: ` +
          `wait for it, or gatehouse renewal abort ${other.id}`,
      );
    }
  }
}
