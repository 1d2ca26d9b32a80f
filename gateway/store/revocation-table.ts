import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { RevocationRecord } from '#gateway/domain/revocation-record.ts';
import type { PageOrder } from '#gateway/ports/page-order.ts';
import type { RevocationTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { RevocationColumns } from './schema.ts';

const COLUMNS = {
  serial: 'serial',
  deviceId: 'device_id',
  reason: 'reason',
  revokedAt: 'revoked_at',
  notAfter: 'not_after',
  requestedBy: 'requested_by',
  closedAfterMs: 'closed_after_ms',
} as const satisfies RecordColumns<RevocationRecord, RevocationColumns>;

const INSERT = prepared((db, p: Parameter<RevocationRecord>) =>
  db
    .insertInto('revocations')
    .values(inserted(COLUMNS, p))
    .onConflict((oc) => oc.column('serial').doNothing()),
);

const FIND = prepared((db, p: Parameter<{ serial: SerialNumber }>) =>
  db.selectFrom('revocations').select(selected(COLUMNS)).where('serial', '=', p('serial')),
);

const REMOVE = prepared((db, p: Parameter<{ serial: SerialNumber }>) =>
  db.deleteFrom('revocations').where('serial', '=', p('serial')),
);

const SET_CLOSED_AFTER = prepared((db, p: Parameter<{ serial: SerialNumber; milliseconds: number }>) =>
  db
    .updateTable('revocations')
    .set({ closed_after_ms: p('milliseconds') })
    .where('serial', '=', p('serial')),
);

const FIND_PLACE = prepared((db, p: Parameter<{ serial: SerialNumber }>) =>
  db.selectFrom('revocations').select(['not_after as notAfter', 'serial']).where('serial', '=', p('serial')),
);

// In the order of the index on (not_after, serial): what has expired long ago is never touched, and no page is sorted.
const LIST_FOR_CRL = prepared((db, p: Parameter<{ expiredBefore: number; limit: number }>) =>
  db
    .selectFrom('revocations')
    .select(selected(COLUMNS))
    .where('not_after', '>=', p('expiredBefore'))
    .orderBy('not_after')
    .orderBy('serial')
    .limit(p('limit')),
);

type Place = { notAfter: number; serial: SerialNumber; limit: number };

const LIST_FOR_CRL_AFTER = prepared((db, p: Parameter<Place>) =>
  db
    .selectFrom('revocations')
    .select(selected(COLUMNS))
    .where((eb) => eb(eb.refTuple('not_after', 'serial'), '>', eb.tuple(p('notAfter'), p('serial'))))
    .orderBy('not_after')
    .orderBy('serial')
    .limit(p('limit')),
);

const LIST_NEWEST = prepared((db, p: Parameter<{ limit: number }>) =>
  db
    .selectFrom('revocations')
    .select(selected(COLUMNS))
    .orderBy('revoked_at', 'desc')
    .orderBy('serial', 'desc')
    .limit(p('limit')),
);

const LIST_UNEXPIRED = prepared((db, p: Parameter<{ now: number }>) =>
  db.selectFrom('revocations').select('serial').where('not_after', '>=', p('now')),
);

export function revocationTable(scope: QueryScope): RevocationTable {
  return {
    insert: async (revocation: RevocationRecord) => (await scope.run(INSERT, revocation)) > 0,
    find: (serial: SerialNumber) => scope.first(FIND, { serial }),
    async remove(serial: SerialNumber): Promise<void> {
      await scope.run(REMOVE, { serial });
    },
    async setClosedAfter(serials: readonly SerialNumber[], milliseconds: number): Promise<void> {
      for (const serial of serials) await scope.run(SET_CLOSED_AFTER, { serial, milliseconds });
    },
    async listForCrl(expiredBefore: number, { after, limit }: PageOrder): Promise<RevocationRecord[]> {
      if (after === undefined) return scope.all(LIST_FOR_CRL, { expiredBefore, limit });
      const last = await scope.first(FIND_PLACE, { serial: after as SerialNumber });
      return last === undefined ? [] : scope.all(LIST_FOR_CRL_AFTER, { ...last, limit });
    },
    listNewest: (limit: number) => scope.all(LIST_NEWEST, { limit }),
    listUnexpiredSerials: async (now: number) => (await scope.all(LIST_UNEXPIRED, { now })).map(({ serial }) => serial),
  };
}
