import { sql } from 'kysely';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { EnrollmentTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';
import type { EnrollmentColumns } from './schema.ts';

const COLUMNS = {
  id: 'id',
  deviceId: 'device_id',
  group: 'group_name',
  kind: 'kind',
  door: 'door',
  address: 'address',
  keyKind: 'key_kind',
  spkiSha256: 'spki_sha256',
  ticketId: 'ticket_id',
  grounds: 'grounds',
  requestId: 'request_id',
  serverKeyFor: 'server_key_for',
  replacesSerial: 'replaces_serial',
  serial: 'serial',
  evidenceSha256: 'evidence_sha256',
  order: 'issuance_order',
  state: 'state',
  createdAt: 'created_at',
  updatedAt: 'updated_at',
} as const satisfies RecordColumns<Enrollment, EnrollmentColumns>;

const INSERT = prepared((db, p: Parameter<Enrollment>) => db.insertInto('enrollments').values(inserted(COLUMNS, p)));

const FIND = prepared((db, p: Parameter<{ id: string }>) =>
  db.selectFrom('enrollments').select(selected(COLUMNS)).where('id', '=', p('id')),
);

const LIST_BY_KEY = prepared((db, p: Parameter<{ deviceId: DeviceId; spkiSha256: string }>) =>
  db
    .selectFrom('enrollments')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('spki_sha256', '=', p('spkiSha256'))
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(10),
);

const FIND_SERIAL = prepared((db, p: Parameter<{ serial: SerialNumber }>) =>
  db.selectFrom('enrollments').select('id').where('serial', '=', p('serial')).limit(1),
);

const LIST_UNFINISHED = prepared((db, p: Parameter<{ limit: number }>) =>
  db
    .selectFrom('enrollments')
    .select(selected(COLUMNS))
    // Written out, not a parameter: only so does the planner see that the partial index fits.
    .where('state', '=', sql.lit<Enrollment['state']>('approved'))
    .orderBy('created_at')
    .orderBy('id')
    .limit(p('limit')),
);

const LIST_UNFINISHED_BY_DEVICE = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db
    .selectFrom('enrollments')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('state', '=', 'approved')
    .orderBy('created_at')
    .orderBy('id'),
);

const COUNT_FIRST_SINCE = prepared((db, p: Parameter<{ group: string; since: number; except: DeviceId }>) =>
  db
    .selectFrom('enrollments')
    .select(({ fn }) => fn.count<number | bigint | string>('device_id').distinct().as('begun'))
    .where('kind', '=', sql.lit<Enrollment['kind']>('enroll'))
    .where('group_name', '=', p('group'))
    .where('created_at', '>=', p('since'))
    .where('device_id', '<>', p('except')),
);

export function enrollmentTable(scope: QueryScope): EnrollmentTable {
  return {
    async insert(enrollment: Enrollment): Promise<void> {
      await scope.run(INSERT, enrollment);
    },
    find: (id: string) => scope.first(FIND, { id }),
    listByKey: (deviceId: DeviceId, spkiSha256: string) => scope.all(LIST_BY_KEY, { deviceId, spkiSha256 }),
    hasSerial: async (serial: SerialNumber) => (await scope.first(FIND_SERIAL, { serial })) !== undefined,
    listUnfinishedByDevice: (deviceId: DeviceId) => scope.all(LIST_UNFINISHED_BY_DEVICE, { deviceId }),
    async countFirstSince(group: string, since: number, exception?: DeviceId): Promise<number> {
      // No device has an empty id.
      const except = exception ?? ('' as DeviceId);
      return Number((await scope.first(COUNT_FIRST_SINCE, { group, since, except }))?.begun ?? 0);
    },
    listUnfinished: (limit: number) => scope.all(LIST_UNFINISHED, { limit }),
    update: (id, change) =>
      scope.change('enrollments', { key: 'id', is: id }, changed<Partial<Enrollment>>(COLUMNS, change)),
  };
}
