import type { CampaignItemState } from '#gateway/contract/operator-api.ts';
import type { CampaignItem } from '#gateway/domain/renewal-campaign.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';

export type EndAbortedDeps = { store: Store; clock: Pick<Clock, 'now'> };

const PAGE = 500;
/** Of those that were aborted last: more at once are not cut off by one crash. */
const NEWEST = 20;

/**
 * Of a campaign that is aborted: who was not told is not told any more, also when it comes online later. Only then it
 * counts as over, so that what a crash cuts off here is done later.
 */
export async function endAborted(deps: EndAbortedDeps, id: string): Promise<void> {
  const now = deps.clock.now();
  const skip = (tables: Tables, { deviceId }: CampaignItem, detail: string) =>
    tables.renewalCampaigns.updateItem(id, deviceId, { state: 'skipped', detail, updatedAt: now });
  await eachItem(deps, { id, state: 'waiting' }, (tables, item) => skip(tables, item, 'aborted before its turn'));
  await eachItem(deps, { id, state: 'ordered' }, async (tables, item) => {
    const notice = item.noticeId === null ? undefined : await tables.notices.find(item.noticeId);
    if (notice?.state !== 'outbox') return;
    await tables.notices.update(notice.id, { state: 'expired' });
    await skip(tables, item, 'aborted before it was told');
  });
  await deps.store.write(async ({ renewalCampaigns }) => {
    const campaign = await renewalCampaigns.find(id);
    if (campaign?.state === 'aborted' && campaign.finishedAt === null)
      await renewalCampaigns.update(id, { finishedAt: now });
  });
}

/** What a crash has left of it. */
export async function endAllAborted(deps: EndAbortedDeps): Promise<void> {
  for (const { id, finishedAt } of await deps.store.read.renewalCampaigns.list({ state: 'aborted', limit: NEWEST }))
    if (finishedAt === null) await endAborted(deps, id);
}

/** Each device of a campaign that is in this state, a transaction for each page. */
async function eachItem(
  { store }: EndAbortedDeps,
  { id, state }: { id: string; state: CampaignItemState },
  work: (tables: Tables, item: CampaignItem) => Promise<unknown>,
): Promise<void> {
  for (let after: string | undefined; ; ) {
    const items = await store.read.renewalCampaigns.listItems(id, { state, limit: PAGE, after });
    await store.write(async (tables) => {
      for (const { deviceId } of items) {
        // Read again inside: it may have renewed since.
        const item = await tables.renewalCampaigns.findItem(id, deviceId);
        if (item?.state === state) await work(tables, item);
      }
    });
    after = items.at(-1)?.deviceId;
    if (items.length < PAGE) return;
  }
}
