import type { ManufacturerCa } from '#gateway/domain/manufacturer-ca.ts';
import type { ManufacturerCaTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { ManufacturerCaColumns } from './schema.ts';

const COLUMNS = {
  group: 'group_name',
  sha256: 'sha256',
  subjectSha256: 'subject_sha256',
  der: 'der',
  note: 'note',
  addedAt: 'added_at',
} as const satisfies RecordColumns<ManufacturerCa, ManufacturerCaColumns>;

type Key = { group: string; sha256: string };

const FIND = prepared((db, p: Parameter<Key>) =>
  db
    .selectFrom('manufacturer_cas')
    .select('note')
    .where('group_name', '=', p('group'))
    .where('sha256', '=', p('sha256')),
);

const PUT = prepared((db, p: Parameter<ManufacturerCa>) =>
  db
    .insertInto('manufacturer_cas')
    .values(inserted(COLUMNS, p))
    .onConflict((oc) => oc.columns(['group_name', 'sha256']).doUpdateSet((eb) => ({ note: eb.ref('excluded.note') }))),
);

const LIST_BY_SUBJECT = prepared((db, p: Parameter<{ subjectSha256: string }>) =>
  db
    .selectFrom('manufacturer_cas')
    .select(selected(COLUMNS))
    .where('subject_sha256', '=', p('subjectSha256'))
    .orderBy('group_name')
    .orderBy('sha256'),
);

const REMOVE = prepared((db, p: Parameter<Key>) =>
  db.deleteFrom('manufacturer_cas').where('group_name', '=', p('group')).where('sha256', '=', p('sha256')),
);

export function manufacturerCaTable(scope: QueryScope): ManufacturerCaTable {
  return {
    async put(ca: ManufacturerCa): Promise<boolean> {
      const { group, sha256, note } = ca;
      const before = await scope.first(FIND, { group, sha256 });
      if (before !== undefined && before.note === note) return false;
      await scope.run(PUT, ca);
      return true;
    },
    listBySubject: (subjectSha256: string) => scope.all(LIST_BY_SUBJECT, { subjectSha256 }),
    list(group?: string): Promise<ManufacturerCa[]> {
      let query = scope.db.selectFrom('manufacturer_cas').select(selected(COLUMNS));
      if (group !== undefined) query = query.where('group_name', '=', group);
      return query.orderBy('group_name').orderBy('added_at').orderBy('sha256').execute();
    },
    remove: async (group: string, sha256: string) => (await scope.run(REMOVE, { group, sha256 })) > 0,
  };
}
