import type { TpmRoot } from '#gateway/domain/attestation/trusted-tpm.ts';
import type { PageOrder } from '#gateway/ports/page-order.ts';
import type { TpmRootTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { TpmRootColumns } from './schema.ts';

const COLUMNS = {
  sha256: 'sha256',
  subjectSha256: 'subject_sha256',
  kind: 'kind',
  note: 'note',
  addedAt: 'added_at',
  der: 'der',
} as const satisfies RecordColumns<TpmRoot, TpmRootColumns>;

const INSERT = prepared((db, p: Parameter<TpmRoot>) => db.insertInto('tpm_roots').values(inserted(COLUMNS, p)));

const FIND = prepared((db, p: Parameter<{ sha256: string }>) =>
  db.selectFrom('tpm_roots').select(selected(COLUMNS)).where('sha256', '=', p('sha256')),
);

const LIST_BY_SUBJECT = prepared((db, p: Parameter<{ subjectSha256: string }>) =>
  db
    .selectFrom('tpm_roots')
    .select(selected(COLUMNS))
    .where('subject_sha256', '=', p('subjectSha256'))
    .orderBy('sha256'),
);

const REMOVE = prepared((db, p: Parameter<{ sha256: string }>) =>
  db.deleteFrom('tpm_roots').where('sha256', '=', p('sha256')),
);

export function tpmRootTable(scope: QueryScope): TpmRootTable {
  return {
    async insert(root: TpmRoot): Promise<void> {
      await scope.run(INSERT, root);
    },
    find: (sha256: string) => scope.first(FIND, { sha256 }),
    listBySubject: (subjectSha256: string) => scope.all(LIST_BY_SUBJECT, { subjectSha256 }),
    list({ after, limit }: PageOrder): Promise<TpmRoot[]> {
      let query = scope.db.selectFrom('tpm_roots').select(selected(COLUMNS));
      if (after !== undefined) query = query.where('sha256', '>', after);
      return query.orderBy('sha256').limit(limit).execute();
    },
    remove: async (sha256: string) => (await scope.run(REMOVE, { sha256 })) > 0,
  };
}
