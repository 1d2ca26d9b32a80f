import type { StatusChange } from '#gateway/domain/status-change.ts';
import type { StatusChangeTable } from '#gateway/ports/fleet-tables.ts';
import type { StatusChangeColumns } from './fleet-schema.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';

const NEW_COLUMNS = {
  serial: 'serial',
  issuerKeyId: 'issuer_key_id',
  change: 'change',
  reason: 'reason',
  at: 'at',
  notAfter: 'not_after',
} as const satisfies RecordColumns<Omit<StatusChange, 'seq'>, StatusChangeColumns>;

const COLUMNS = { seq: 'seq', ...NEW_COLUMNS } as const;

const APPEND = prepared((db, p: Parameter<Omit<StatusChange, 'seq'>>) =>
  db.insertInto('status_changes').values(inserted(NEW_COLUMNS, p)),
);

const LIST_AFTER = prepared((db, p: Parameter<{ seq: number; limit: number }>) =>
  db
    .selectFrom('status_changes')
    .select(selected(COLUMNS))
    .where('seq', '>', p('seq'))
    .orderBy('seq')
    .limit(p('limit')),
);

// By end of the certificate, and never the newest: numbers must not be given out again.
const PRUNE = prepared((db, p: Parameter<{ endedBefore: number; before: number; limit: number }>) =>
  db.deleteFrom('status_changes').where('seq', 'in', (eb) =>
    eb
      .selectFrom('status_changes')
      .select('seq')
      .where('not_after', '<', p('endedBefore'))
      .where('seq', '<', p('before'))
      .where('seq', '<', (inner) => inner.selectFrom('status_changes').select(({ fn }) => fn.max('seq').as('newest')))
      .orderBy('not_after')
      .orderBy('seq')
      .limit(p('limit')),
  ),
);

const NEWEST = prepared((db) =>
  db.selectFrom('status_changes').select('seq').where('seq', '>', 0).orderBy('seq', 'desc').limit(1),
);

export function statusChangeTable(scope: QueryScope): StatusChangeTable {
  return {
    async append(change): Promise<void> {
      await scope.run(APPEND, change);
    },
    listAfter: (seq: number, limit: number) => scope.all(LIST_AFTER, { seq, limit }),
    prune: (endedBefore: number, before: number, limit: number) => scope.run(PRUNE, { endedBefore, before, limit }),
    newestSeq: async () => (await scope.first(NEWEST, {}))?.seq ?? 0,
  };
}
