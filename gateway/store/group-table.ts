import type { Kysely } from 'kysely';
import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import { DEFAULT_POLICY, type Group } from '#gateway/domain/group.ts';
import type { GroupTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import type { Database } from './schema.ts';

function policiesInForce(db: Kysely<Database>) {
  return db
    .selectFrom('device_groups as g')
    .innerJoin('group_policies as p', (on) => on.onRef('p.name', '=', 'g.name').onRef('p.version', '=', 'g.version'))
    .select(['g.name', 'g.version', 'p.policy', 'p.updated_at as updatedAt']);
}

const FIND = prepared((db, p: Parameter<{ name: string }>) => policiesInForce(db).where('g.name', '=', p('name')));

const LIST = prepared((db) => policiesInForce(db).orderBy('g.name'));

// The row in device_groups points at the version in force; a late writer of a lower one does not turn it back.
const POINT = prepared((db, p: Parameter<{ name: string; version: number }>) =>
  db
    .insertInto('device_groups')
    .values({ name: p('name'), version: p('version') })
    .onConflict((oc) =>
      oc
        .column('name')
        .doUpdateSet((eb) => ({ version: eb.ref('excluded.version') }))
        .whereRef('device_groups.version', '<', 'excluded.version'),
    ),
);

type PolicyRow = { name: string; version: number; policy: string; updatedAt: number; actor: string };

const INSERT = prepared((db, p: Parameter<PolicyRow>) =>
  db.insertInto('group_policies').values({
    name: p('name'),
    version: p('version'),
    policy: p('policy'),
    updated_at: p('updatedAt'),
    updated_by: p('actor'),
  }),
);

export function groupTable(scope: QueryScope): GroupTable {
  return {
    async find(name: string): Promise<Group | undefined> {
      const row = await scope.first(FIND, { name });
      return row === undefined ? undefined : toGroup(row);
    },
    list: async () => (await scope.all(LIST, {})).map(toGroup),
    async put({ name, version, policy, updatedAt }: Group, actor: string): Promise<void> {
      await scope.run(POINT, { name, version });
      await scope.run(INSERT, { name, version, policy: JSON.stringify(policy), updatedAt, actor });
    },
  };
}

function toGroup({ policy, ...rest }: { name: string; version: number; policy: string; updatedAt: number }): Group {
  // A policy of an older version knows fewer rules: those it does not name are as in a new group.
  return { ...rest, policy: { ...DEFAULT_POLICY, ...(JSON.parse(policy) as Partial<GroupPolicy>) } };
}
