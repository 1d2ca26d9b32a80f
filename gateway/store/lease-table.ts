import type { LeaseTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';

/** A lease that ends after `sane` was taken by a clock that has been set back since: its holder may be long dead. */
type Acquisition = { name: string; holder: string; now: number; until: number; sane: number };

const ACQUIRE = prepared((db, p: Parameter<Acquisition>) =>
  db
    .insertInto('leases')
    .values({ name: p('name'), holder: p('holder'), expires_at: p('until') })
    .onConflict((oc) =>
      oc
        .column('name')
        .doUpdateSet((eb) => ({ holder: eb.ref('excluded.holder'), expires_at: eb.ref('excluded.expires_at') }))
        .where((eb) =>
          eb.or([
            eb('leases.holder', '=', eb.ref('excluded.holder')),
            eb('leases.expires_at', '<=', p('now')),
            eb('leases.expires_at', '>', p('sane')),
          ]),
        ),
    ),
);

const RELEASE = prepared((db, p: Parameter<{ name: string; holder: string }>) =>
  db.deleteFrom('leases').where('name', '=', p('name')).where('holder', '=', p('holder')),
);

// One row for each kind of work: the whole table is a page.
const RELEASE_ALL = prepared((db, p: Parameter<{ holder: string }>) =>
  db.deleteFrom('leases').where('holder', '=', p('holder')),
);

export function leaseTable(scope: QueryScope): LeaseTable {
  return {
    async acquire(name, holder, now, until): Promise<boolean> {
      const life = until - now;
      return (await scope.run(ACQUIRE, { name, holder, now, until, sane: until + life })) > 0;
    },
    async release(name: string, holder: string): Promise<void> {
      await scope.run(RELEASE, { name, holder });
    },
    async releaseAll(holder: string): Promise<void> {
      await scope.run(RELEASE_ALL, { holder });
    },
  };
}
