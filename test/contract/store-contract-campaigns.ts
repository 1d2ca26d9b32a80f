import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { CampaignItem } from '#gateway/domain/renewal-campaign.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import { campaignOf, serialOf, T0 } from './store-records.ts';

function itemOf(n: number, change: Partial<CampaignItem> = {}): CampaignItem {
  return {
    campaignId: 'rc-1',
    deviceId: parseDeviceId(`press-${n}`),
    serial: serialOf(n),
    slotAt: T0 + n,
    state: 'waiting',
    noticeId: null,
    detail: null,
    updatedAt: T0,
    ...change,
  };
}

export function describeCampaignTables(name: string, open: OpenStore): void {
  describe(`${name}: renewals of many devices`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
      await store.write(({ renewalCampaigns }) => renewalCampaigns.insert(campaignOf('rc-1')));
    });
    afterEach(() => close());

    const add = (...items: CampaignItem[]) => store.write(({ renewalCampaigns }) => renewalCampaigns.addItems(items));

    it('keeps a campaign with its devices, changes what is to be changed, and gives it back', async () => {
      await add(itemOf(1), itemOf(2));
      const change = { state: 'finished', finishedAt: T0 + 9, detail: 'x', lastTurnAt: T0 + 5 } as const;
      await store.write(({ renewalCampaigns }) => renewalCampaigns.update('rc-1', change));
      expect(await store.read.renewalCampaigns.find('rc-1')).toEqual({ ...campaignOf('rc-1'), ...change });
      expect(await store.read.renewalCampaigns.listItems('rc-1', { limit: 9 })).toEqual([itemOf(1), itemOf(2)]);
      expect(await store.read.renewalCampaigns.find('rc-2')).toBeUndefined();
    });

    it('lists campaigns newest first, in a state or all, page by page', async () => {
      await store.write(async ({ renewalCampaigns }) => {
        await renewalCampaigns.insert(campaignOf('rc-2', { createdAt: T0 + 1, state: 'paused' }));
        await renewalCampaigns.insert(campaignOf('rc-3', { createdAt: T0 + 2 }));
      });
      const list = async (page: Parameters<Store['read']['renewalCampaigns']['list']>[0]) =>
        (await store.read.renewalCampaigns.list(page)).map(({ id }) => id);
      expect(await list({ limit: 9 })).toEqual(['rc-3', 'rc-2', 'rc-1']);
      expect(await list({ limit: 1, state: 'running' })).toEqual(['rc-3']);
      expect(await list({ limit: 1, state: 'running', after: 'rc-3' })).toEqual(['rc-1']);
      expect(await list({ limit: 1, state: 'running', after: 'rc-1' })).toEqual([]);
    });

    it('finds devices by their state, and knows whether there is one without counting', async () => {
      await add(itemOf(1), itemOf(2, { state: 'unreached' }), itemOf(3, { state: 'unreached' }));
      const list = async (after?: string) =>
        (await store.read.renewalCampaigns.listItems('rc-1', { limit: 9, state: 'unreached', after })).map(
          ({ deviceId }) => deviceId,
        );
      expect(await list()).toEqual(['press-2', 'press-3']);
      expect(await list('press-2')).toEqual(['press-3']);
      const has = (state: CampaignItem['state']) => store.read.renewalCampaigns.hasItems('rc-1', state);
      expect([await has('waiting'), await has('unreached'), await has('ordered')]).toEqual([true, true, false]);
      expect(await store.read.renewalCampaigns.countItems('rc-1')).toEqual(
        new Map([
          ['unreached', 2],
          ['waiting', 1],
        ]),
      );
    });

    it('lists what is due by its moment, and by serial all that wait for that certificate, or did in vain', async () => {
      await add(itemOf(3), itemOf(1), itemOf(2, { state: 'ordered' }));
      const due = await store.read.renewalCampaigns.listDue('rc-1', T0 + 2, 9);
      expect(due.map(({ deviceId }) => deviceId)).toEqual(['press-1']);
      const states = ['waiting', 'ordered', 'renewed', 'failed', 'unreached', 'skipped'] as const;
      await store.write(async ({ renewalCampaigns }) => {
        for (const state of states) {
          await renewalCampaigns.insert(campaignOf(`rc-${state}`));
          await renewalCampaigns.addItems([itemOf(9, { campaignId: `rc-${state}`, state })]);
        }
      });
      const found = await store.read.renewalCampaigns.listBySerial(serialOf(9));
      expect(found.map(({ state }) => state).toSorted()).toEqual(['failed', 'ordered', 'unreached', 'waiting']);
    });
  });
}
