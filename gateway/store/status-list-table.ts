import type { StatusList } from '#gateway/domain/status-change.ts';
import type { StatusListTable } from '#gateway/ports/fleet-tables.ts';
import type { StatusListColumns } from './fleet-schema.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';

const COLUMNS = {
  scope: 'scope',
  number: 'number',
  baseNumber: 'base_number',
  thisUpdate: 'this_update',
  nextUpdate: 'next_update',
  entries: 'entries',
  seq: 'seq',
} as const satisfies RecordColumns<StatusList, StatusListColumns>;

const INSERT = prepared((db, p: Parameter<StatusList>) => db.insertInto('status_lists').values(inserted(COLUMNS, p)));

const LATEST = prepared((db, p: Parameter<{ scope: string }>) =>
  db
    .selectFrom('status_lists')
    .select(selected(COLUMNS))
    .where('scope', '=', p('scope'))
    .orderBy('number', 'desc')
    .limit(1),
);

const HIGHEST = prepared((db) =>
  db.selectFrom('status_lists').select('number').where('number', '>', 0).orderBy('number', 'desc').limit(1),
);

const PRUNE = prepared((db, p: Parameter<{ scope: string; keep: number }>) =>
  db
    .deleteFrom('status_lists')
    .where('scope', '=', p('scope'))
    .where('number', 'not in', (eb) =>
      eb
        .selectFrom('status_lists as newer')
        .select('newer.number')
        .where('newer.scope', '=', p('scope'))
        .orderBy('newer.number', 'desc')
        .limit(p('keep')),
    ),
);

export function statusListTable(scope: QueryScope): StatusListTable {
  return {
    async insert(list: StatusList): Promise<void> {
      await scope.run(INSERT, list);
    },
    latest: (name: string) => scope.first(LATEST, { scope: name }),
    highestNumber: async () => (await scope.first(HIGHEST, {}))?.number ?? 0,
    async prune(name: string, keep: number): Promise<void> {
      await scope.run(PRUNE, { scope: name, keep });
    },
  };
}
