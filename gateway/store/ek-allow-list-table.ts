import type { AllowedEk } from '#gateway/domain/attestation/trusted-tpm.ts';
import type { PageOrder } from '#gateway/ports/page-order.ts';
import type { EkAllowListTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { EkAllowListColumns } from './schema.ts';

const COLUMNS = {
  ekSha256: 'ek_sha256',
  note: 'note',
  deviceId: 'device_id',
  addedAt: 'added_at',
} as const satisfies RecordColumns<AllowedEk, EkAllowListColumns>;

const FIND = prepared((db, p: Parameter<{ ekSha256: string }>) =>
  db.selectFrom('ek_allow_list').select(selected(COLUMNS)).where('ek_sha256', '=', p('ekSha256')),
);

const PUT = prepared((db, p: Parameter<AllowedEk>) =>
  db
    .insertInto('ek_allow_list')
    .values(inserted(COLUMNS, p))
    .onConflict((oc) =>
      oc.column('ek_sha256').doUpdateSet((eb) => ({
        note: eb.ref('excluded.note'),
        device_id: eb.ref('excluded.device_id'),
      })),
    ),
);

const REMOVE = prepared((db, p: Parameter<{ ekSha256: string }>) =>
  db.deleteFrom('ek_allow_list').where('ek_sha256', '=', p('ekSha256')),
);

export function ekAllowListTable(scope: QueryScope): EkAllowListTable {
  const find = (ekSha256: string) => scope.first(FIND, { ekSha256 });
  return {
    find,
    async put(allowed: AllowedEk): Promise<boolean> {
      const before = await find(allowed.ekSha256);
      if (before !== undefined && before.note === allowed.note && before.deviceId === allowed.deviceId) return false;
      await scope.run(PUT, allowed);
      return true;
    },
    remove: async (ekSha256: string) => (await scope.run(REMOVE, { ekSha256 })) > 0,
    list({ after, limit }: PageOrder): Promise<AllowedEk[]> {
      let query = scope.db.selectFrom('ek_allow_list').select(selected(COLUMNS));
      if (after !== undefined) query = query.where('ek_sha256', '>', after);
      return query.orderBy('ek_sha256').limit(limit).execute();
    },
  };
}
