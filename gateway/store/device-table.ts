import { sql } from 'kysely';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateState, DeviceState } from '#gateway/contract/operator-api.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { HOLD } from '#gateway/domain/revocable.ts';
import type { PageOrder } from '#gateway/ports/page-order.ts';
import { StoreError } from '#gateway/ports/store.ts';
import type { DeviceTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';
import type { DeviceColumns } from './schema.ts';

const COLUMNS = {
  deviceId: 'device_id',
  group: 'group_name',
  state: 'state',
  proofLevel: 'proof_level',
  hardwareSerial: 'hardware_serial',
  owner: 'owner',
  createdAt: 'created_at',
  noticeSeq: 'notice_seq',
  trustSeen: 'trust_seen',
  trustSeenAt: 'trust_seen_at',
  reportCount: 'report_count',
  lastReport: 'last_report',
} as const satisfies RecordColumns<Device, DeviceColumns>;

type Key = { deviceId: DeviceId };

const INSERT = prepared((db, p: Parameter<Device>) => db.insertInto('devices').values(inserted(COLUMNS, p)));

const FIND = prepared((db, p: Parameter<Key>) =>
  db.selectFrom('devices').select(selected(COLUMNS)).where('device_id', '=', p('deviceId')),
);

const TAKE_NOTICE_SEQ = prepared((db, p: Parameter<Key & { atLeast: number }>) =>
  db
    .updateTable('devices')
    .set((eb) => ({
      notice_seq: eb
        .case()
        .when('notice_seq', '<', p('atLeast'))
        .then(p('atLeast'))
        .else(eb('notice_seq', '+', 1))
        .end(),
    }))
    .where('device_id', '=', p('deviceId'))
    .returning('notice_seq as noticeSeq'),
);

const LIST_BY_HARDWARE_SERIAL = prepared((db, p: Parameter<{ hardwareSerial: string }>) =>
  db
    .selectFrom('devices')
    .select(selected(COLUMNS))
    // Letter by letter as the index has it, or it is not used.
    .where(
      sql<string>`lower(replace(hardware_serial, ' ', ''))`,
      '=',
      sql<string>`lower(replace(${p('hardwareSerial')}, ' ', ''))`,
    )
    .orderBy('device_id'),
);

const LIST_BY_NAME = prepared((db, p: Parameter<Key>) =>
  db
    .selectFrom('devices')
    .select(selected(COLUMNS))
    .where(sql<string>`lower(device_id)`, '=', sql<string>`lower(${p('deviceId')})`)
    .orderBy('device_id'),
);

/**
 * What a device `d` would come with: its certificate `n` in use, the one that was issued and that it has not come with
 * yet, or the one that is good again when the hold ends.
 */
const needsTrust = sql<boolean>`case coalesce(d.state, '')
  when 'held' then n.state = 'revoked' and n.revocation_reason = ${sql.lit(HOLD)} and n.activated_at is not null
  when 'registered' then n.state = 'pending'
  when 'revoked' then n.state = 'pending'
  else n.state = 'active' or (n.state = 'expired' and n.activated_at is not null)
end`;

const LIST_TRUST = prepared((db, p: Parameter<{ after: DeviceId; endsAfter: number; limit: number }>) =>
  db
    .selectFrom('devices as d')
    // The newest in use: there are two while one takes the other's place.
    .innerJoin('certificates as c', (join) =>
      join.on('c.serial', '=', (eb) =>
        eb
          .selectFrom('certificates as n')
          .select('n.serial')
          .whereRef('n.device_id', '=', 'd.device_id')
          .where(needsTrust)
          .where('n.profile', '=', 'device')
          .where('n.not_after', '>', p('endsAfter'))
          .orderBy('n.issued_at', 'desc')
          .orderBy('n.serial', 'desc')
          .limit(1),
      ),
    )
    // The first of a lineage carries no name of it.
    .leftJoin('certificates as f', (join) =>
      join.on('f.serial', '=', sql<SerialNumber>`coalesce(c.lineage_id, c.serial)`),
    )
    .select([
      'd.device_id as deviceId',
      'd.group_name as group',
      'd.trust_seen as trustSeen',
      'd.trust_seen_at as trustSeenAt',
      'c.serial',
      'c.issuer_key_id as issuerKeyId',
      'c.not_after as notAfter',
      'f.issuer_key_id as enrolledUnder',
    ])
    .where('d.device_id', '>', p('after'))
    // Not the bare column: by the indexes of states every page would be sorted out of the whole fleet.
    .where(sql<boolean>`coalesce(d.state, '') <> 'retired'`)
    .orderBy('d.device_id')
    .limit(p('limit')),
);

const LIST_IDS = prepared((db, p: Parameter<{ after: DeviceId; state: DeviceState; limit: number }>) =>
  db
    .selectFrom('devices')
    .select('device_id as deviceId')
    .where('state', '=', p('state'))
    .where('device_id', '>', p('after'))
    .orderBy('device_id')
    .limit(p('limit')),
);

type InGroup = { group: string; except: DeviceId };

const COUNT_ENROLLED = prepared((db, p: Parameter<InGroup>) =>
  db
    .selectFrom('devices')
    .select(({ fn }) => fn.countAll<number | bigint | string>().as('devices'))
    .where('group_name', '=', p('group'))
    // Written out, not a parameter: only so does the planner see that the partial index fits.
    .where('state', '=', sql.lit<DeviceState>('enrolled'))
    .where('device_id', '<>', p('except')),
);

const COUNT_COMING = prepared((db, p: Parameter<InGroup>) =>
  db
    .selectFrom((eb) =>
      eb
        .selectFrom('certificates')
        .select('device_id')
        .where('state', '=', sql.lit<CertificateState>('pending'))
        .union(
          eb
            .selectFrom('enrollments')
            .select('device_id')
            .where('state', '=', sql.lit<Enrollment['state']>('approved')),
        )
        .as('coming'),
    )
    .innerJoin('devices', 'devices.device_id', 'coming.device_id')
    .select(({ fn }) => fn.countAll<number | bigint | string>().as('devices'))
    .where('devices.group_name', '=', p('group'))
    .where('devices.state', '<>', sql.lit<DeviceState>('enrolled'))
    .where('devices.device_id', '<>', p('except')),
);

export function deviceTable(scope: QueryScope): DeviceTable {
  return {
    async insert(device: Device): Promise<void> {
      await scope.run(INSERT, device);
    },
    find: (deviceId: DeviceId) => scope.first(FIND, { deviceId }),
    update: (deviceId, change) =>
      scope.change('devices', { key: 'device_id', is: deviceId }, changed<Partial<Device>>(COLUMNS, change)),
    async takeNoticeSeq(deviceId: DeviceId, atLeast: number): Promise<number> {
      const row = await scope.first(TAKE_NOTICE_SEQ, { deviceId, atLeast });
      if (row === undefined) throw new StoreError('CONFLICT', `there is no device ${deviceId} to number a notice for`);
      return row.noticeSeq;
    },
    list({ after, limit, group, state }: PageOrder & { group?: string; state?: DeviceState }): Promise<Device[]> {
      let query = scope.db.selectFrom('devices').select(selected(COLUMNS));
      if (after !== undefined) query = query.where('device_id', '>', after as DeviceId);
      if (group !== undefined) query = query.where('group_name', '=', group);
      if (state !== undefined) query = query.where('state', '=', state);
      return query.orderBy('device_id').limit(limit).execute();
    },
    async listIds({ after, limit, state }: PageOrder & { state: DeviceState }): Promise<DeviceId[]> {
      const rows = await scope.all(LIST_IDS, { after: (after ?? '') as DeviceId, limit, state });
      return rows.map(({ deviceId }) => deviceId);
    },
    listTrust: ({ after, limit, endsAfter }: PageOrder & { endsAfter: number }) =>
      scope.all(LIST_TRUST, { after: (after ?? '') as DeviceId, limit, endsAfter }),
    listByHardwareSerial: (hardwareSerial: string) => scope.all(LIST_BY_HARDWARE_SERIAL, { hardwareSerial }),
    listByName: (deviceId: DeviceId) => scope.all(LIST_BY_NAME, { deviceId }),
    async countEnrolled(group: string, exception?: DeviceId): Promise<number> {
      // No device has an empty id.
      const except = exception ?? ('' as DeviceId);
      const enrolled = await scope.first(COUNT_ENROLLED, { group, except });
      const coming = await scope.first(COUNT_COMING, { group, except });
      return Number(enrolled?.devices ?? 0) + Number(coming?.devices ?? 0);
    },
    async countByGroup(): Promise<Map<string, number>> {
      const rows = await scope.db
        .selectFrom('devices')
        .select(({ fn }) => ['group_name as group', fn.countAll<number | bigint | string>().as('devices')])
        .groupBy('group_name')
        .execute();
      return new Map(rows.map(({ group, devices }) => [group, Number(devices)]));
    },
  };
}
