import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { RevocationJob, RevocationJobItem } from '#gateway/domain/revocation-job.ts';
import type { RevocationJobTable } from '#gateway/ports/fleet-tables.ts';
import type { RevocationJobColumns, RevocationJobItemColumns } from './fleet-schema.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';

const COLUMNS = {
  id: 'id',
  scope: 'scope',
  target: 'target',
  reason: 'reason',
  state: 'state',
  rate: 'rate',
  createdAt: 'created_at',
  createdBy: 'created_by',
  finishedAt: 'finished_at',
} as const satisfies RecordColumns<RevocationJob, RevocationJobColumns>;

const ITEM_COLUMNS = {
  jobId: 'job_id',
  serial: 'serial',
  deviceId: 'device_id',
  state: 'state',
  closedAfterMs: 'closed_after_ms',
  detail: 'detail',
} as const satisfies RecordColumns<RevocationJobItem, RevocationJobItemColumns>;

const INSERT = prepared((db, p: Parameter<RevocationJob>) =>
  db.insertInto('revocation_jobs').values(inserted(COLUMNS, p)),
);

const FIND = prepared((db, p: Parameter<{ id: string }>) =>
  db.selectFrom('revocation_jobs').select(selected(COLUMNS)).where('id', '=', p('id')),
);

const INSERT_ITEM = prepared((db, p: Parameter<RevocationJobItem>) =>
  db
    .insertInto('revocation_job_items')
    .values(inserted(ITEM_COLUMNS, p))
    .onConflict((oc) => oc.columns(['job_id', 'serial']).doNothing()),
);

type ItemChange<Field extends keyof RevocationJobItem> = Parameter<Pick<RevocationJobItem, 'jobId' | 'serial' | Field>>;

const SET_STATE = prepared((db, p: ItemChange<'state'>) =>
  db
    .updateTable('revocation_job_items')
    .set({ state: p('state') })
    .where('job_id', '=', p('jobId'))
    .where('serial', '=', p('serial')),
);

const SET_CLOSED_AFTER = prepared((db, p: ItemChange<'closedAfterMs'>) =>
  db
    .updateTable('revocation_job_items')
    .set({ closed_after_ms: p('closedAfterMs') })
    .where('job_id', '=', p('jobId'))
    .where('serial', '=', p('serial')),
);

const SET_DETAIL = prepared((db, p: ItemChange<'detail'>) =>
  db
    .updateTable('revocation_job_items')
    .set({ detail: p('detail') })
    .where('job_id', '=', p('jobId'))
    .where('serial', '=', p('serial')),
);

export function revocationJobTable(scope: QueryScope): RevocationJobTable {
  return {
    async insert(job, items): Promise<void> {
      await scope.run(INSERT, job);
      for (const item of items) await scope.run(INSERT_ITEM, item);
    },
    async addItems(items): Promise<number> {
      let added = 0;
      for (const item of items) added += await scope.run(INSERT_ITEM, item);
      return added;
    },
    find: (id: string) => scope.first(FIND, { id }),
    update: (id, change) =>
      scope.change('revocation_jobs', { key: 'id', is: id }, changed<Partial<RevocationJob>>(COLUMNS, change)),
    async list({ after, limit, state }): Promise<RevocationJob[]> {
      let query = scope.db.selectFrom('revocation_jobs').select(selected(COLUMNS));
      if (after !== undefined) {
        const last = await scope.first(FIND, { id: after });
        if (last === undefined) return [];
        query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(last.createdAt, last.id)));
      }
      if (state !== undefined) query = query.where('state', '=', state);
      return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
    },
    listItems(jobId, { after, limit, state }): Promise<RevocationJobItem[]> {
      let query = scope.db
        .selectFrom('revocation_job_items')
        .select(selected(ITEM_COLUMNS))
        .where('job_id', '=', jobId);
      if (after !== undefined) query = query.where('serial', '>', after as SerialNumber);
      if (state !== undefined) query = query.where('state', '=', state);
      return query.orderBy('serial').limit(limit).execute();
    },
    async updateItem(jobId, serial, { state, closedAfterMs, detail }): Promise<void> {
      if (state !== undefined) await scope.run(SET_STATE, { jobId, serial, state });
      if (closedAfterMs !== undefined) await scope.run(SET_CLOSED_AFTER, { jobId, serial, closedAfterMs });
      if (detail !== undefined) await scope.run(SET_DETAIL, { jobId, serial, detail });
    },
    async countItems(jobId: string): Promise<Map<RevocationJobItem['state'], number>> {
      const rows = await scope.db
        .selectFrom('revocation_job_items')
        .select(({ fn }) => ['state', fn.countAll<number | bigint | string>().as('items')])
        .where('job_id', '=', jobId)
        .groupBy('state')
        .execute();
      return new Map(rows.map(({ state, items }) => [state, Number(items)]));
    },
    async listClosedAfter(jobId: string): Promise<number[]> {
      const rows = await scope.db
        .selectFrom('revocation_job_items')
        .select('closed_after_ms as milliseconds')
        .where('job_id', '=', jobId)
        .where('closed_after_ms', 'is not', null)
        .orderBy('closed_after_ms')
        .execute();
      return rows.flatMap(({ milliseconds }) => (milliseconds === null ? [] : [milliseconds]));
    },
  };
}
