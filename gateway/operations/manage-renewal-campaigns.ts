import {
  CAMPAIGN_ITEM_STATES,
  type CampaignItemState,
  type CampaignState,
  type Page,
} from '#gateway/contract/operator-api.ts';
import type { RenewalCampaignDetail, RenewalCampaignDevice } from '#gateway/contract/renewal-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { campaignSlot } from '#gateway/domain/renewal/campaign-slot.ts';
import { givesUpAt, type RenewalCampaign } from '#gateway/domain/renewal-campaign.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { takeOverAbsent } from './campaign-absence.ts';
import { describeItem } from './campaign-results.ts';
import { endAborted } from './end-aborted.ts';
import { page } from './list-devices.ts';
import { BEING_PREPARED, requireStartable } from './require-startable.ts';

export type ManageCampaignDeps = { store: Store; clock: Clock };

type Order = { id: string; actor: string };

/** In one transaction. */
const PAGE = 100;
const MINUTE_MS = 60_000;

/** @throws GatewayError NOT_FOUND */
export async function showCampaign(deps: ManageCampaignDeps, id: string): Promise<RenewalCampaignDetail> {
  return describe(deps.store.read, await find(deps.store.read, id));
}

export async function listCampaigns(
  { store: { read } }: ManageCampaignDeps,
  query: { after?: string; limit: number; state?: CampaignState },
): Promise<Page<RenewalCampaignDetail>> {
  const campaigns = await read.renewalCampaigns.list(query);
  const items = await Promise.all(campaigns.map((campaign) => describe(read, campaign)));
  return page(items, query.limit, ({ id }) => id);
}

/** @throws GatewayError NOT_FOUND */
export async function listCampaignDevices(
  { store: { read } }: ManageCampaignDeps,
  query: { id: string; after?: string; limit: number; state?: CampaignItemState },
): Promise<Page<RenewalCampaignDevice>> {
  const { id, ...order } = query;
  await find(read, id);
  const items = await read.renewalCampaigns.listItems(id, order);
  return page(
    await Promise.all(items.map((item) => describeItem(read, item))),
    query.limit,
    ({ deviceId }) => deviceId,
  );
}

/** Nobody further is told; those who were go on. @throws GatewayError NOT_FOUND, STATE_CONFLICT */
export function pauseCampaign(deps: ManageCampaignDeps, order: Order): Promise<RenewalCampaignDetail> {
  return change(deps, order, { from: ['running'], to: 'paused', action: 'renewal.paused' });
}

/** What came due meanwhile is told at the campaign's rate, not at once. @throws GatewayError NOT_FOUND, STATE_CONFLICT */
export function resumeCampaign(deps: ManageCampaignDeps, order: Order): Promise<RenewalCampaignDetail> {
  return change(deps, order, { from: ['paused'], to: 'running', action: 'renewal.resumed' });
}

/** @throws GatewayError NOT_FOUND, STATE_CONFLICT */
export async function abortCampaign(deps: ManageCampaignDeps, order: Order): Promise<RenewalCampaignDetail> {
  await change(deps, order, { from: ['running', 'paused'], to: 'aborted', action: 'renewal.aborted' });
  await endAborted(deps, order.id);
  return showCampaign(deps, order.id);
}

/**
 * Those that failed or were not reached get another turn, at the campaign's rate; those that are renewed meanwhile are
 * left alone. Where an order is still open there will be no second one.
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function retryCampaign(deps: ManageCampaignDeps, order: Order): Promise<RenewalCampaignDetail> {
  const { store, clock } = deps;
  const campaign = await find(store.read, order.id);
  if (campaign.state === 'paused')
    throw new GatewayError('STATE_CONFLICT', `campaign ${order.id} is paused; resume it first, then retry what failed`);
  await requireStartable(store.read, campaign);
  if (campaign.state === 'aborted') await endAborted(deps, order.id);
  const counts = await store.read.renewalCampaigns.countItems(order.id);
  const [failed, unreached] = [counts.get('failed') ?? 0, counts.get('unreached') ?? 0];
  if (failed + unreached === 0)
    throw new GatewayError('STATE_CONFLICT', `no device of campaign ${order.id} has failed or was not reached`);
  const now = clock.now();
  const width = Math.ceil(((failed + unreached) * MINUTE_MS) / campaign.perMinute);
  for (const state of ['failed', 'unreached'] as const) await giveAnotherTurn(deps, campaign, { state, now, width });
  await store.write(async (tables) => {
    const endsAt = Math.max(campaign.endsAt, now + width);
    await tables.renewalCampaigns.update(order.id, { state: 'running', finishedAt: null, detail: null, endsAt });
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: order.actor,
        action: 'renewal.retried',
        subject: order.id,
        detail: `${failed} devices that failed, ${unreached} that were not reached`,
      }),
    );
  });
  return showCampaign(deps, order.id);
}

async function giveAnotherTurn(
  { store }: ManageCampaignDeps,
  campaign: RenewalCampaign,
  { state, now, width }: { state: CampaignItemState; now: number; width: number },
): Promise<void> {
  const { id } = campaign;
  for (let after: string | undefined; ; ) {
    const items = await store.read.renewalCampaigns.listItems(id, { state, limit: PAGE, after });
    await store.write(async (tables) => {
      // Read again inside: two operators may have the same idea.
      await requireStartable(tables, campaign);
      for (const { deviceId, serial } of items) {
        // And a device may have come back.
        if ((await tables.renewalCampaigns.findItem(id, deviceId))?.state !== state) continue;
        const slotAt = campaignSlot(deviceId, { id: `${id}/${now}`, startsAt: now, width });
        const again = { state: 'waiting', slotAt, noticeId: null, detail: null, updatedAt: now } as const;
        await tables.renewalCampaigns.updateItem(id, deviceId, again);
        await takeOverAbsent(tables, { campaignId: id, serial, now });
      }
    });
    after = items.at(-1)?.deviceId;
    if (items.length < PAGE) return;
  }
}

async function change(
  deps: ManageCampaignDeps,
  { id, actor }: Order,
  step: {
    from: CampaignState[];
    to: CampaignState;
    action: 'renewal.paused' | 'renewal.resumed' | 'renewal.aborted';
  },
): Promise<RenewalCampaignDetail> {
  const now = deps.clock.now();
  await deps.store.write(async (tables) => {
    const { state, detail: note, lastTurnAt } = await find(tables, id);
    if (step.to === 'running' && note === BEING_PREPARED)
      throw new GatewayError('STATE_CONFLICT', `campaign ${id} is still being prepared: try again in a moment`);
    if (!step.from.includes(state))
      throw new GatewayError(
        'STATE_CONFLICT',
        `campaign ${id} is ${state}; this needs one that is ${step.from.join(' or ')}`,
      );
    const detail = step.to === 'aborted' ? `by ${actor}` : null;
    // A pause is no time in which a device had to come back.
    const patience = step.to === 'running' && lastTurnAt !== null ? { lastTurnAt: now } : {};
    await tables.renewalCampaigns.update(id, { state: step.to, finishedAt: null, detail, ...patience });
    await tables.audit.append(auditEntry({ at: now, actor, action: step.action, subject: id }));
  });
  return showCampaign(deps, id);
}

async function find(tables: Pick<Tables, 'renewalCampaigns'>, id: string): Promise<RenewalCampaign> {
  const campaign = await tables.renewalCampaigns.find(id);
  if (campaign === undefined) throw new GatewayError('NOT_FOUND', `there is no renewal campaign "${id}"`);
  return campaign;
}

async function describe(
  tables: Pick<Tables, 'renewalCampaigns'>,
  campaign: RenewalCampaign,
): Promise<RenewalCampaignDetail> {
  const counts = await tables.renewalCampaigns.countItems(campaign.id);
  const devices = Object.fromEntries(
    CAMPAIGN_ITEM_STATES.map((state) => [state, counts.get(state) ?? 0]),
  ) as RenewalCampaignDetail['devices'];
  const isWaiting = campaign.state === 'running' && devices.waiting === 0 && devices.ordered > 0;
  return { ...campaign, givesUpAt: isWaiting ? givesUpAt(campaign) : null, devices };
}
