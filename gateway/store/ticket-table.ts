import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { PageOrder } from '#gateway/ports/page-order.ts';
import type { TicketTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';
import type { TicketColumns } from './schema.ts';

const COLUMNS = {
  id: 'id',
  deviceId: 'device_id',
  secretSha256: 'secret_sha256',
  createdAt: 'created_at',
  expiresAt: 'expires_at',
  createdBy: 'created_by',
  boundSpkiSha256: 'bound_spki_sha256',
  boundSerial: 'bound_serial',
  spentAt: 'spent_at',
  claimSerial: 'claim_serial',
  revokedAt: 'revoked_at',
} as const satisfies RecordColumns<Ticket, TicketColumns>;

const INSERT = prepared((db, p: Parameter<Ticket>) => db.insertInto('tickets').values(inserted(COLUMNS, p)));

const FIND = prepared((db, p: Parameter<{ id: string }>) =>
  db.selectFrom('tickets').select(selected(COLUMNS)).where('id', '=', p('id')),
);

const FIND_BY_SECRET = prepared((db, p: Parameter<{ secretSha256: string }>) =>
  db.selectFrom('tickets').select(selected(COLUMNS)).where('secret_sha256', '=', p('secretSha256')),
);

const LIST_BY_DEVICE = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db
    .selectFrom('tickets')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc'),
);

export function ticketTable(scope: QueryScope): TicketTable {
  return {
    async insert(ticket: Ticket): Promise<void> {
      await scope.run(INSERT, ticket);
    },
    find: (id: string) => scope.first(FIND, { id }),
    findBySecret: (secretSha256: string) => scope.first(FIND_BY_SECRET, { secretSha256 }),
    update: (id, change) => scope.change('tickets', { key: 'id', is: id }, changed<Partial<Ticket>>(COLUMNS, change)),
    listByDevice: (deviceId: DeviceId) => scope.all(LIST_BY_DEVICE, { deviceId }),
    async list({ after, limit }: PageOrder): Promise<Ticket[]> {
      let query = scope.db.selectFrom('tickets').select(selected(COLUMNS));
      if (after !== undefined) {
        const last = await scope.first(FIND, { id: after });
        if (last === undefined) return [];
        query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(last.createdAt, last.id)));
      }
      return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
    },
  };
}
