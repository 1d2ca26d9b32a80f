import { type CreateTableBuilder, type Kysely, sql } from 'kysely';
import type { ColumnTypes, Migration } from './migration.ts';

/** Times and sequence numbers are `bigint` milliseconds or counts; states are text; there are no booleans. */
export const first: Migration = {
  number: 1,
  name: 'first',
  async up(db, types) {
    await createDeviceTables(db);
    await createEnrollmentTables(db);
    await createCertificateTables(db, types);
    await createSessionTables(db);
    await createHouseTables(db, types);
  },
};

async function createDeviceTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('device_groups')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('group_policies')
    .addColumn('name', 'text', (c) => c.notNull().references('device_groups.name'))
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('policy', 'text', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_by', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('group_policies_key', ['name', 'version'])
    .execute();
  await db.schema
    .createTable('devices')
    .addColumn('device_id', 'text', (c) => c.primaryKey())
    .addColumn('group_name', 'text', (c) => c.notNull().references('device_groups.name'))
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('proof_level', 'text', (c) => c.notNull())
    .addColumn('hardware_serial', 'text')
    .addColumn('owner', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('notice_seq', 'bigint', (c) => c.notNull())
    .execute();
  await index(db, 'devices', ['group_name', 'device_id']);
  await index(db, 'devices', ['state', 'device_id']);
}

async function createEnrollmentTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('tickets')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .$call(deviceReference)
    .addColumn('secret_sha256', 'text', (c) => c.notNull().unique())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('bound_spki_sha256', 'text')
    .addColumn('bound_serial', 'text')
    .addColumn('spent_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .execute();
  await index(db, 'tickets', ['device_id', 'created_at', 'id']);
  await index(db, 'tickets', ['created_at', 'id']);
  await db.schema
    .createTable('enrollments')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .$call(deviceReference)
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('door', 'text', (c) => c.notNull())
    .addColumn('address', 'text', (c) => c.notNull())
    .addColumn('key_kind', 'text', (c) => c.notNull())
    .addColumn('spki_sha256', 'text', (c) => c.notNull())
    .addColumn('ticket_id', 'text')
    .addColumn('replaces_serial', 'text')
    .addColumn('serial', 'text', (c) => c.notNull().unique())
    .addColumn('issuance_order', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute();
  await index(db, 'enrollments', ['device_id', 'spki_sha256', 'created_at', 'id']);
  // Nearly always empty: only what waits for its certificate stands in it.
  await db.schema
    .createIndex('enrollments_unfinished')
    .on('enrollments')
    .columns(['created_at', 'id'])
    .where(sql.ref('state'), '=', sql.lit('approved'))
    .execute();
}

async function createCertificateTables(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('certificates')
    .addColumn('serial', 'text', (c) => c.primaryKey())
    .addColumn('issuer_key_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.references('devices.device_id'))
    .addColumn('profile', 'text', (c) => c.notNull())
    .addColumn('spki_sha256', 'text', (c) => c.notNull())
    .addColumn('sha256', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('proof_level', 'text')
    .addColumn('not_before', 'bigint', (c) => c.notNull())
    .addColumn('not_after', 'bigint', (c) => c.notNull())
    .addColumn('issued_at', 'bigint', (c) => c.notNull())
    .addColumn('activated_at', 'bigint')
    .addColumn('supersede_at', 'bigint')
    .addColumn('lapse_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .addColumn('revocation_reason', 'text')
    .addColumn('enrollment_id', 'text')
    .addColumn('next_due_at', 'bigint')
    // Last: the columns before it are read without touching a long row's overflow pages.
    .addColumn('der', types.bytes, (c) => c.notNull())
    .execute();
  await index(db, 'certificates', ['device_id', 'issued_at', 'serial']);
  await index(db, 'certificates', ['state', 'issued_at', 'serial']);
  await index(db, 'certificates', ['issued_at', 'serial']);
  await index(db, 'certificates', ['spki_sha256']);
  await db.schema
    .createIndex('certificates_next_due_at')
    .on('certificates')
    .column('next_due_at')
    .where(sql.ref('next_due_at'), 'is not', null)
    .execute();

  await db.schema
    .createTable('revocations')
    .addColumn('serial', 'text', (c) => c.primaryKey())
    .addColumn('device_id', 'text')
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('revoked_at', 'bigint', (c) => c.notNull())
    .addColumn('not_after', 'bigint', (c) => c.notNull())
    .addColumn('requested_by', 'text', (c) => c.notNull())
    .addColumn('closed_after_ms', 'bigint')
    .execute();
  await index(db, 'revocations', ['not_after', 'serial']);
  await index(db, 'revocations', ['revoked_at', 'serial']);

  await db.schema
    .createTable('crls')
    .addColumn('number', 'bigint', (c) => c.primaryKey())
    .addColumn('this_update', 'bigint', (c) => c.notNull())
    .addColumn('next_update', 'bigint', (c) => c.notNull())
    .addColumn('entries', 'bigint', (c) => c.notNull())
    .addColumn('der', types.bytes, (c) => c.notNull())
    .execute();
}

async function createSessionTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('sessions')
    .addColumn('device_id', 'text', (c) => c.primaryKey().references('devices.device_id'))
    .addColumn('current_serial', 'text')
    .addColumn('current_address', 'text')
    .addColumn('current_since', 'bigint')
    .addColumn('last_serial', 'text')
    .addColumn('last_address', 'text')
    .addColumn('last_since', 'bigint')
    .addColumn('last_ended_at', 'bigint')
    .addColumn('last_end_reason', 'text')
    .execute();
  await db.schema
    .createTable('notices')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .$call(deviceReference)
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('token', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('sent_at', 'bigint')
    .addColumn('acked_at', 'bigint')
    .addColumn('detail', 'text')
    .addUniqueConstraint('notices_device_seq', ['device_id', 'seq'])
    .execute();
  await index(db, 'notices', ['state', 'expires_at']);
}

async function createHouseTables(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('audit_events')
    .addColumn('id', types.countedId, (c) => types.counted(c))
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('action', 'text', (c) => c.notNull())
    .addColumn('subject', 'text', (c) => c.notNull())
    .addColumn('attempt_id', 'text')
    .addColumn('outcome', 'text', (c) => c.notNull())
    .addColumn('code', 'text')
    .addColumn('detail', 'text')
    .execute();
  await index(db, 'audit_events', ['subject', 'id']);
  await index(db, 'audit_events', ['action', 'id']);
  await db.schema
    .createIndex('audit_events_attempt_id_id')
    .on('audit_events')
    .columns(['attempt_id', 'id'])
    .where(sql.ref('attempt_id'), 'is not', null)
    .execute();
  await db.schema
    .createTable('leases')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('holder', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('settings')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('value', 'text', (c) => c.notNull())
    .execute();
}

function deviceReference<T extends string, C extends string>(table: CreateTableBuilder<T, C>) {
  return table.addColumn('device_id', 'text', (c) => c.notNull().references('devices.device_id'));
}

async function index(db: Kysely<unknown>, table: string, columns: string[]): Promise<void> {
  await db.schema
    .createIndex(`${table}_${columns.join('_')}`)
    .on(table)
    .columns(columns)
    .execute();
}
