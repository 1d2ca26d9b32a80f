import type { CrlRecord } from '#gateway/domain/revocation-record.ts';
import type { CrlTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { Database } from './schema.ts';

const COLUMNS = {
  number: 'number',
  thisUpdate: 'this_update',
  nextUpdate: 'next_update',
  entries: 'entries',
  der: 'der',
} as const satisfies RecordColumns<CrlRecord, Database['crls']>;

const INSERT = prepared((db, p: Parameter<CrlRecord>) => db.insertInto('crls').values(inserted(COLUMNS, p)));

const LATEST = prepared((db) => db.selectFrom('crls').select(selected(COLUMNS)).orderBy('number', 'desc').limit(1));

const PRUNE = prepared((db, p: Parameter<{ keep: number }>) =>
  db
    .deleteFrom('crls')
    .where('number', 'not in', (eb) =>
      eb.selectFrom('crls').select('number').orderBy('number', 'desc').limit(p('keep')),
    ),
);

export function crlTable(scope: QueryScope): CrlTable {
  return {
    async insert(crl: CrlRecord): Promise<void> {
      await scope.run(INSERT, crl);
    },
    latest: () => scope.first(LATEST, {}),
    async prune(keep: number): Promise<void> {
      await scope.run(PRUNE, { keep });
    },
  };
}
