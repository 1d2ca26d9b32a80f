import type { CaGeneration } from '#gateway/domain/ca-generation.ts';
import type { CaGenerationTable } from '#gateway/ports/fleet-tables.ts';
import type { CaGenerationColumns } from './fleet-schema.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';

const COLUMNS = {
  sha256: 'sha256',
  kind: 'kind',
  keyId: 'key_id',
  state: 'state',
  createdAt: 'created_at',
  changedAt: 'changed_at',
  reason: 'reason',
  der: 'der',
} as const satisfies RecordColumns<CaGeneration, CaGenerationColumns>;

const PUT = prepared((db, p: Parameter<CaGeneration>) =>
  db
    .insertInto('ca_generations')
    .values(inserted(COLUMNS, p))
    .onConflict((oc) =>
      oc.column('sha256').doUpdateSet((eb) => ({
        state: eb.ref('excluded.state'),
        changed_at: eb.ref('excluded.changed_at'),
        reason: eb.ref('excluded.reason'),
      })),
    ),
);

export function caGenerationTable(scope: QueryScope): CaGenerationTable {
  return {
    async put(generation: CaGeneration): Promise<void> {
      await scope.run(PUT, generation);
    },
    list: () =>
      scope.db.selectFrom('ca_generations').select(selected(COLUMNS)).orderBy('created_at').orderBy('sha256').execute(),
  };
}
