import { sql } from 'kysely';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateState } from '#gateway/contract/operator-api.ts';
import { type CertificateRecord, nextDueAt } from '#gateway/domain/certificate-record.ts';
import type { PageOrder } from '#gateway/ports/page-order.ts';
import type { CertificateTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';
import type { CertificateColumns } from './schema.ts';

const COLUMNS = {
  serial: 'serial',
  issuerKeyId: 'issuer_key_id',
  deviceId: 'device_id',
  profile: 'profile',
  spkiSha256: 'spki_sha256',
  sha256: 'sha256',
  state: 'state',
  proofLevel: 'proof_level',
  notBefore: 'not_before',
  notAfter: 'not_after',
  issuedAt: 'issued_at',
  activatedAt: 'activated_at',
  supersedeAt: 'supersede_at',
  lapseAt: 'lapse_at',
  revokedAt: 'revoked_at',
  revocationReason: 'revocation_reason',
  enrollmentId: 'enrollment_id',
  lineageId: 'lineage_id',
  renewFrom: 'renew_from',
  renewUntil: 'renew_until',
  der: 'der',
} as const satisfies RecordColumns<CertificateRecord, CertificateColumns>;

type Row = CertificateRecord & { nextDueAt: number | null };
type Key = { serial: SerialNumber };

const INSERT = prepared((db, p: Parameter<Row>) =>
  db.insertInto('certificates').values({ ...inserted(COLUMNS, p), next_due_at: p('nextDueAt') }),
);

const FIND = prepared((db, p: Parameter<Key>) =>
  db.selectFrom('certificates').select(selected(COLUMNS)).where('serial', '=', p('serial')),
);

const FIND_DUE_FIELDS = prepared((db, p: Parameter<Key>) =>
  db
    .selectFrom('certificates')
    .select(['state', 'lapse_at as lapseAt', 'supersede_at as supersedeAt', 'not_after as notAfter'])
    .where('serial', '=', p('serial')),
);

const FIND_PLACE = prepared((db, p: Parameter<Key>) =>
  db.selectFrom('certificates').select(['issued_at as issuedAt', 'serial']).where('serial', '=', p('serial')),
);

const LIST_BY_DEVICE = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('profile', '=', 'device')
    .orderBy('issued_at', 'desc')
    .orderBy('serial', 'desc'),
);

/** Not the gateway's own. */
const OF_OTHERS = ['device', 'device-bootstrap', 'registrar'];

const LIST_STANDING = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('profile', '=', 'device')
    .where('state', 'in', ['pending', 'active'])
    .orderBy('issued_at', 'desc')
    .orderBy('serial', 'desc'),
);

const LIST_ISSUED_SINCE = prepared((db, p: Parameter<{ deviceId: DeviceId; since: number }>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('issued_at', '>=', p('since'))
    .where('profile', '=', 'device')
    .orderBy('issued_at', 'desc')
    .orderBy('serial', 'desc'),
);

const LIST_BY_KEY = prepared((db, p: Parameter<{ spkiSha256: string }>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where('spki_sha256', '=', p('spkiSha256'))
    .where('profile', 'in', OF_OTHERS)
    .orderBy('serial'),
);

// The first of a lineage carries no name of it: its own serial is the name.
const LIST_BY_LINEAGE = prepared((db, p: Parameter<{ lineageId: string }>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where((eb) => eb.or([eb('lineage_id', '=', p('lineageId')), eb('serial', '=', p('lineageId') as SerialNumber)]))
    .orderBy('issued_at')
    .orderBy('serial'),
);

const LIST_BY_ISSUER = prepared((db, p: Parameter<{ issuerKeyId: string; after: string; limit: number }>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where('issuer_key_id', '=', p('issuerKeyId'))
    .where('serial', '>', p('after') as SerialNumber)
    .where('profile', '=', 'device')
    .orderBy('serial')
    .limit(p('limit')),
);

const LIST_ALL_BY_ISSUER = prepared((db, p: Parameter<{ issuerKeyId: string; after: string; limit: number }>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where('issuer_key_id', '=', p('issuerKeyId'))
    .where('serial', '>', p('after') as SerialNumber)
    .orderBy('serial')
    .limit(p('limit')),
);

type RenewalRange = { from: number; until: number; limit: number; after: SerialNumber };

const LIST_BY_RENEWAL = prepared((db, p: Parameter<RenewalRange>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where('state', '=', sql.lit<CertificateState>('active'))
    .where((eb) => eb(eb.refTuple('renew_from', 'serial'), '>', eb.tuple(p('from'), p('after'))))
    .where('renew_from', '<', p('until'))
    .orderBy('renew_from')
    .orderBy('serial')
    .limit(p('limit')),
);

/** As the index on it says it, word for word. */
const RENEW_MINUTE = sql<number>`(renew_from / 60000)`;

const COUNT_BY_MINUTE = prepared((db, p: Parameter<{ first: number; end: number }>) =>
  db
    .selectFrom('certificates')
    .select(({ fn }) => [RENEW_MINUTE.as('minute'), fn.countAll<number | bigint | string>().as('certificates')])
    .where('state', '=', sql.lit<CertificateState>('active'))
    .where(RENEW_MINUTE, '>=', p('first'))
    .where(RENEW_MINUTE, '<', p('end'))
    .groupBy(RENEW_MINUTE),
);

const LIST_DUE = prepared((db, p: Parameter<{ now: number; limit: number }>) =>
  db
    .selectFrom('certificates')
    .select(selected(COLUMNS))
    .where('next_due_at', '<=', p('now'))
    .orderBy('next_due_at')
    .limit(p('limit')),
);

export function certificateTable(scope: QueryScope): CertificateTable {
  return {
    async insert(certificate: CertificateRecord): Promise<void> {
      await scope.run(INSERT, { ...certificate, nextDueAt: nextDueAt(certificate) });
    },
    find: (serial: string) => scope.first(FIND, { serial: serial as SerialNumber }),
    async update(serial, change): Promise<void> {
      const before = await scope.first(FIND_DUE_FIELDS, { serial });
      if (before === undefined) return;
      const columns = changed<Partial<CertificateRecord>>(COLUMNS, change);
      const due = nextDueAt({ ...before, ...withoutUndefined(change) });
      await scope.change('certificates', { key: 'serial', is: serial }, { ...columns, next_due_at: due });
    },
    listByDevice: (deviceId: DeviceId) => scope.all(LIST_BY_DEVICE, { deviceId }),
    listStanding: (deviceId: DeviceId) => scope.all(LIST_STANDING, { deviceId }),
    listIssuedSince: (deviceId: DeviceId, since: number) => scope.all(LIST_ISSUED_SINCE, { deviceId, since }),
    async list(
      page: PageOrder & { state?: CertificateRecord['state']; deviceId?: DeviceId },
    ): Promise<CertificateRecord[]> {
      let query = scope.db.selectFrom('certificates').select(selected(COLUMNS));
      if (page.after !== undefined) {
        const last = await scope.first(FIND_PLACE, { serial: page.after as SerialNumber });
        if (last === undefined) return [];
        query = query.where((eb) => eb(eb.refTuple('issued_at', 'serial'), '<', eb.tuple(last.issuedAt, last.serial)));
      }
      if (page.state !== undefined) query = query.where('state', '=', page.state);
      if (page.deviceId !== undefined) query = query.where('device_id', '=', page.deviceId);
      return query.orderBy('issued_at', 'desc').orderBy('serial', 'desc').limit(page.limit).execute();
    },
    listByKey: (spkiSha256: string) => scope.all(LIST_BY_KEY, { spkiSha256 }),
    listByLineage: (lineageId: string) => scope.all(LIST_BY_LINEAGE, { lineageId }),
    listByIssuer: (issuerKeyId: string, { after, limit }: PageOrder) =>
      scope.all(LIST_BY_ISSUER, { issuerKeyId, after: after ?? '', limit }),
    listAllByIssuer: (issuerKeyId: string, { after, limit }: PageOrder) =>
      scope.all(LIST_ALL_BY_ISSUER, { issuerKeyId, after: after ?? '', limit }),
    listByRenewal: (from: number, until: number, limit: number, after?: string) =>
      scope.all(LIST_BY_RENEWAL, { from, until, limit, after: (after ?? '') as SerialNumber }),
    async countRenewals(from: number, until: number, group?: string): Promise<number> {
      let query = scope.db
        .selectFrom('certificates')
        .select(({ fn }) => fn.countAll<number | bigint | string>().as('certificates'))
        .where('certificates.state', '=', sql.lit<CertificateState>('active'))
        .where('renew_from', '>=', from)
        .where('renew_from', '<', until);
      if (group !== undefined) {
        query = query
          .innerJoin('devices', 'devices.device_id', 'certificates.device_id')
          .where('devices.group_name', '=', group);
      }
      return Number((await query.executeTakeFirst())?.certificates ?? 0);
    },
    async countRenewalsByMinute(first: number, end: number): Promise<Map<number, number>> {
      const rows = await scope.all(COUNT_BY_MINUTE, { first, end });
      return new Map(rows.map(({ minute, certificates }) => [minute, Number(certificates)]));
    },
    listDue: (now: number, limit: number) => scope.all(LIST_DUE, { now, limit }),
  };
}

function withoutUndefined<T extends object>(change: T): T {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) as T;
}
