import type { SettingTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';

const GET = prepared((db, p: Parameter<{ name: string }>) =>
  db.selectFrom('settings').select('value').where('name', '=', p('name')),
);

const SET = prepared((db, p: Parameter<{ name: string; value: string }>) =>
  db
    .insertInto('settings')
    .values({ name: p('name'), value: p('value') })
    .onConflict((oc) => oc.column('name').doUpdateSet((eb) => ({ value: eb.ref('excluded.value') }))),
);

export function settingTable(scope: QueryScope): SettingTable {
  return {
    get: async (name: string) => (await scope.first(GET, { name }))?.value,
    async set(name: string, value: string): Promise<void> {
      await scope.run(SET, { name, value });
    },
  };
}
