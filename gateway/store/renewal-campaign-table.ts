import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CampaignItem, RenewalCampaign } from '#gateway/domain/renewal-campaign.ts';
import type { RenewalCampaignTable } from '#gateway/ports/fleet-tables.ts';
import type { CampaignColumns, CampaignItemColumns } from './fleet-schema.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';

const COLUMNS = {
  id: 'id',
  group: 'group_name',
  reason: 'reason',
  state: 'state',
  createdAt: 'created_at',
  createdBy: 'created_by',
  startsAt: 'starts_at',
  endsAt: 'ends_at',
  perMinute: 'per_minute',
  abortPercent: 'abort_percent',
  giveUpSeconds: 'give_up_seconds',
  lastTurnAt: 'last_turn_at',
  finishedAt: 'finished_at',
  detail: 'detail',
} as const satisfies RecordColumns<RenewalCampaign, CampaignColumns>;

const ITEM_COLUMNS = {
  campaignId: 'campaign_id',
  deviceId: 'device_id',
  serial: 'serial',
  slotAt: 'slot_at',
  state: 'state',
  noticeId: 'notice_id',
  detail: 'detail',
  updatedAt: 'updated_at',
} as const satisfies RecordColumns<CampaignItem, CampaignItemColumns>;

const INSERT = prepared((db, p: Parameter<RenewalCampaign>) =>
  db.insertInto('renewal_campaigns').values(inserted(COLUMNS, p)),
);

const FIND = prepared((db, p: Parameter<{ id: string }>) =>
  db.selectFrom('renewal_campaigns').select(selected(COLUMNS)).where('id', '=', p('id')),
);

const INSERT_ITEM = prepared((db, p: Parameter<CampaignItem>) =>
  db.insertInto('renewal_campaign_items').values(inserted(ITEM_COLUMNS, p)),
);

const FIND_ITEM = prepared((db, p: Parameter<{ campaignId: string; deviceId: DeviceId }>) =>
  db
    .selectFrom('renewal_campaign_items')
    .select(selected(ITEM_COLUMNS))
    .where('campaign_id', '=', p('campaignId'))
    .where('device_id', '=', p('deviceId')),
);

const LIST_DUE = prepared((db, p: Parameter<{ campaignId: string; now: number; limit: number }>) =>
  db
    .selectFrom('renewal_campaign_items')
    .select(selected(ITEM_COLUMNS))
    .where('campaign_id', '=', p('campaignId'))
    .where('state', '=', 'waiting')
    .where('slot_at', '<=', p('now'))
    .orderBy('slot_at')
    .limit(p('limit')),
);

const LIST_BY_SERIAL = prepared((db, p: Parameter<{ serial: string }>) =>
  db
    .selectFrom('renewal_campaign_items')
    .select(selected(ITEM_COLUMNS))
    .where('serial', '=', p('serial'))
    .where('state', 'in', ['waiting', 'ordered', 'failed', 'unreached']),
);

const FIND_IN_STATE = prepared((db, p: Parameter<{ campaignId: string; state: CampaignItem['state'] }>) =>
  db
    .selectFrom('renewal_campaign_items')
    .select('device_id')
    .where('campaign_id', '=', p('campaignId'))
    .where('state', '=', p('state'))
    .limit(1),
);

export function renewalCampaignTable(scope: QueryScope): RenewalCampaignTable {
  return {
    async insert(campaign: RenewalCampaign): Promise<void> {
      await scope.run(INSERT, campaign);
    },
    find: (id: string) => scope.first(FIND, { id }),
    update: (id, change) =>
      scope.change('renewal_campaigns', { key: 'id', is: id }, changed<Partial<RenewalCampaign>>(COLUMNS, change)),
    async list({ after, limit, state }): Promise<RenewalCampaign[]> {
      let query = scope.db.selectFrom('renewal_campaigns').select(selected(COLUMNS));
      if (after !== undefined) {
        const last = await scope.first(FIND, { id: after });
        if (last === undefined) return [];
        query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(last.createdAt, last.id)));
      }
      if (state !== undefined) query = query.where('state', '=', state);
      return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
    },
    async addItems(items): Promise<void> {
      for (const item of items) await scope.run(INSERT_ITEM, item);
    },
    findItem: (campaignId: string, deviceId: DeviceId) => scope.first(FIND_ITEM, { campaignId, deviceId }),
    async updateItem(campaignId, deviceId, change): Promise<void> {
      const values = changed<Partial<CampaignItem>>(ITEM_COLUMNS, change);
      if (Object.keys(values).length === 0) return;
      await scope.db
        .updateTable('renewal_campaign_items')
        .set(values)
        .where('campaign_id', '=', campaignId)
        .where('device_id', '=', deviceId)
        .execute();
    },
    listDue: (campaignId: string, now: number, limit: number) => scope.all(LIST_DUE, { campaignId, now, limit }),
    listBySerial: (serial: string) => scope.all(LIST_BY_SERIAL, { serial }),
    listItems(campaignId, { after, limit, state }): Promise<CampaignItem[]> {
      let query = scope.db
        .selectFrom('renewal_campaign_items')
        .select(selected(ITEM_COLUMNS))
        .where('campaign_id', '=', campaignId);
      if (after !== undefined) query = query.where('device_id', '>', after as DeviceId);
      if (state !== undefined) query = query.where('state', '=', state);
      return query.orderBy('device_id').limit(limit).execute();
    },
    async countItems(campaignId: string): Promise<Map<CampaignItem['state'], number>> {
      const rows = await scope.db
        .selectFrom('renewal_campaign_items')
        .select(({ fn }) => ['state', fn.countAll<number | bigint | string>().as('items')])
        .where('campaign_id', '=', campaignId)
        .groupBy('state')
        .execute();
      return new Map(rows.map(({ state, items }) => [state, Number(items)]));
    },
    hasItems: async (campaignId, state) => (await scope.first(FIND_IN_STATE, { campaignId, state })) !== undefined,
  };
}
