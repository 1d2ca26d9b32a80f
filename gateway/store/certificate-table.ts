import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { type CertificateRecord, nextDueAt } from '#gateway/domain/certificate-record.ts';
import type { CertificateTable, PageOrder } from '#gateway/ports/tables.ts';
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
    listDue: (now: number, limit: number) => scope.all(LIST_DUE, { now, limit }),
  };
}

function withoutUndefined<T extends object>(change: T): T {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) as T;
}
