import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { NoticeKind } from '#gateway/contract/notice.ts';
import { FINISHED_NOTICE_STATES, type NoticeRecord, UNFINISHED_NOTICE_STATES } from '#gateway/domain/notice-record.ts';
import type { NoticeTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';
import type { NoticeColumns } from './schema.ts';

const COLUMNS = {
  id: 'id',
  deviceId: 'device_id',
  seq: 'seq',
  kind: 'kind',
  token: 'token',
  state: 'state',
  createdAt: 'created_at',
  expiresAt: 'expires_at',
  sentAt: 'sent_at',
  ackedAt: 'acked_at',
  detail: 'detail',
} as const satisfies RecordColumns<NoticeRecord, NoticeColumns>;

const INSERT = prepared((db, p: Parameter<NoticeRecord>) => db.insertInto('notices').values(inserted(COLUMNS, p)));

const FIND = prepared((db, p: Parameter<{ id: string }>) =>
  db.selectFrom('notices').select(selected(COLUMNS)).where('id', '=', p('id')),
);

const LIST_UNFINISHED = prepared((db, p: Parameter<{ deviceId: DeviceId; now: number }>) =>
  db
    .selectFrom('notices')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('state', 'in', UNFINISHED_NOTICE_STATES)
    .where('expires_at', '>', p('now'))
    .orderBy('seq'),
);

const LIST_BY_DEVICE = prepared((db, p: Parameter<{ deviceId: DeviceId; limit: number }>) =>
  db
    .selectFrom('notices')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .orderBy('seq', 'desc')
    .limit(p('limit')),
);

// The newest of a device, as above; those of other kinds are passed over.
const LIST_BY_KIND = prepared((db, p: Parameter<{ deviceId: DeviceId; kind: NoticeKind; limit: number }>) =>
  db
    .selectFrom('notices')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('kind', '=', p('kind'))
    .orderBy('seq', 'desc')
    .limit(p('limit')),
);

const EXPIRE = prepared((db, p: Parameter<{ now: number }>) =>
  db
    .updateTable('notices')
    .set({ state: 'expired' })
    .where('state', 'in', UNFINISHED_NOTICE_STATES)
    .where('expires_at', '<=', p('now')),
);

const PRUNE = prepared((db, p: Parameter<{ endedBefore: number; limit: number }>) =>
  db
    .deleteFrom('notices')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('notices as old')
        .select('old.id')
        .where('old.state', 'in', FINISHED_NOTICE_STATES)
        .where('old.expires_at', '<', p('endedBefore'))
        .limit(p('limit')),
    ),
);

const COUNT_UNFINISHED = prepared((db) =>
  db
    .selectFrom('notices')
    .select(({ fn }) => fn.countAll<number | bigint | string>().as('unfinished'))
    .where('state', 'in', UNFINISHED_NOTICE_STATES),
);

export function noticeTable(scope: QueryScope): NoticeTable {
  return {
    async insert(notice: NoticeRecord): Promise<void> {
      await scope.run(INSERT, notice);
    },
    find: (id: string) => scope.first(FIND, { id }),
    update: (id, change) =>
      scope.change('notices', { key: 'id', is: id }, changed<Partial<NoticeRecord>>(COLUMNS, change)),
    listUnfinished: (deviceId: DeviceId, now: number) => scope.all(LIST_UNFINISHED, { deviceId, now }),
    listByDevice: (deviceId: DeviceId, limit: number, kind?: NoticeKind) =>
      kind === undefined
        ? scope.all(LIST_BY_DEVICE, { deviceId, limit })
        : scope.all(LIST_BY_KIND, { deviceId, kind, limit }),
    expire: (now: number) => scope.run(EXPIRE, { now }),
    prune: (endedBefore: number, limit: number) => scope.run(PRUNE, { endedBefore, limit }),
    countUnfinished: async () => Number((await scope.first(COUNT_UNFINISHED, {}))?.unfinished ?? 0),
  };
}
