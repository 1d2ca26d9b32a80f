import { sql } from 'kysely';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { EnrollmentRequest } from '#gateway/domain/enrollment-request.ts';
import type { EnrollmentRequestTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';
import type { RequestColumns } from './schema.ts';

const COLUMNS = {
  id: 'id',
  deviceId: 'device_id',
  group: 'group_name',
  grounds: 'grounds',
  door: 'door',
  address: 'address',
  keyKind: 'key_kind',
  spkiSha256: 'spki_sha256',
  proofLevel: 'proof_level',
  hardwareSerial: 'hardware_serial',
  reason: 'reason',
  state: 'state',
  askedAt: 'asked_at',
  lastAskedAt: 'last_asked_at',
  timesAsked: 'times_asked',
  expiresAt: 'expires_at',
  decidedAt: 'decided_at',
  decidedBy: 'decided_by',
  note: 'note',
} as const satisfies RecordColumns<EnrollmentRequest, RequestColumns>;

type Key = { deviceId: DeviceId; spkiSha256: string };

// Written out, not parameters: only so does the planner see that the partial indexes fit.
const IS_OPEN = sql<boolean>`state in ('waiting', 'approved')`;

const INSERT = prepared((db, p: Parameter<EnrollmentRequest>) =>
  db.insertInto('enrollment_requests').values(inserted(COLUMNS, p)),
);

const FIND = prepared((db, p: Parameter<{ id: string }>) =>
  db.selectFrom('enrollment_requests').select(selected(COLUMNS)).where('id', '=', p('id')),
);

const FIND_OPEN = prepared((db, p: Parameter<Key>) =>
  db
    .selectFrom('enrollment_requests')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('spki_sha256', '=', p('spkiSha256'))
    .where(IS_OPEN),
);

const FIND_NEWEST = prepared((db, p: Parameter<Key>) =>
  db
    .selectFrom('enrollment_requests')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('spki_sha256', '=', p('spkiSha256'))
    .orderBy('asked_at', 'desc')
    .orderBy('id', 'desc')
    .limit(1),
);

const LIST_OPEN_BY_DEVICE = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db
    .selectFrom('enrollment_requests')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where(IS_OPEN)
    .orderBy('asked_at')
    .orderBy('id'),
);

const LIST_EXPIRED = prepared((db, p: Parameter<{ state: EnrollmentRequest['state']; now: number; limit: number }>) =>
  db
    .selectFrom('enrollment_requests')
    .select(selected(COLUMNS))
    .where('state', '=', p('state'))
    .where('expires_at', '<=', p('now'))
    .orderBy('expires_at')
    .limit(p('limit')),
);

const PRUNE = prepared((db, p: Parameter<{ before: number; limit: number }>) =>
  db
    .deleteFrom('enrollment_requests')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('enrollment_requests')
        .select('id')
        .where('last_asked_at', '<', p('before'))
        .where('state', 'not in', ['waiting', 'approved'])
        .orderBy('last_asked_at')
        .limit(p('limit')),
    ),
);

export function enrollmentRequestTable(scope: QueryScope): EnrollmentRequestTable {
  const update: EnrollmentRequestTable['update'] = (id, change) =>
    scope.change('enrollment_requests', { key: 'id', is: id }, changed<Partial<EnrollmentRequest>>(COLUMNS, change));
  return {
    async insert(request: EnrollmentRequest): Promise<void> {
      await scope.run(INSERT, request);
    },
    find: (id: string) => scope.first(FIND, { id }),
    findOpen: (deviceId: DeviceId, spkiSha256: string) => scope.first(FIND_OPEN, { deviceId, spkiSha256 }),
    findNewest: (deviceId: DeviceId, spkiSha256: string) => scope.first(FIND_NEWEST, { deviceId, spkiSha256 }),
    listOpenByDevice: (deviceId: DeviceId) => scope.all(LIST_OPEN_BY_DEVICE, { deviceId }),
    update,
    async list({ after, limit, state, group }): Promise<EnrollmentRequest[]> {
      let query = scope.db.selectFrom('enrollment_requests').select(selected(COLUMNS));
      if (after !== undefined) {
        const last = await scope.first(FIND, { id: after });
        if (last === undefined) return [];
        query = query.where((eb) => eb(eb.refTuple('asked_at', 'id'), '<', eb.tuple(last.askedAt, last.id)));
      }
      if (state !== undefined) query = query.where('state', '=', state);
      if (group !== undefined) query = query.where('group_name', '=', group);
      return query.orderBy('asked_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
    },
    async countWaiting(group?: string): Promise<number> {
      let query = scope.db
        .selectFrom('enrollment_requests')
        .select(({ fn }) => fn.countAll<number | bigint | string>().as('waiting'))
        .where('state', '=', 'waiting');
      if (group !== undefined) query = query.where('group_name', '=', group);
      return Number((await query.executeTakeFirst())?.waiting ?? 0);
    },
    async expire(now: number, limit: number): Promise<EnrollmentRequest[]> {
      // One state after the other: only so are they in the order of the index.
      const over = await scope.all(LIST_EXPIRED, { state: 'waiting', now, limit });
      over.push(...(await scope.all(LIST_EXPIRED, { state: 'approved', now, limit: limit - over.length })));
      for (const { id } of over) await update(id, { state: 'expired' });
      return over;
    },
    prune: (before: number, limit: number) => scope.run(PRUNE, { before, limit }),
  };
}
