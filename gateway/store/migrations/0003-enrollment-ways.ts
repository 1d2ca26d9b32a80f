import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, Migration } from './migration.ts';

/** More ways to enroll: requests that wait for a person, makers' CAs, registrars, claims; and every attempt on record. */
export const enrollmentWays: Migration = {
  number: 3,
  name: 'enrollment-ways',
  async up(db, types) {
    await extendEnrollments(db);
    await createRequests(db);
    await createTrust(db, types);
    await createAttempts(db);
    await freeChallenges(db, types);
  },
};

async function extendEnrollments(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('tickets').addColumn('claim_serial', 'text').execute();
  for (const column of ['group_name', 'grounds', 'request_id', 'server_key_for']) {
    await db.schema.alterTable('enrollments').addColumn(column, 'text').execute();
  }
  await db.schema
    .createIndex('enrollments_first')
    .on('enrollments')
    .columns(['group_name', 'created_at'])
    .where(sql.ref('kind'), '=', sql.lit('enroll'))
    .execute();
  await db.schema
    .createIndex('devices_hardware_serial')
    .on('devices')
    .columns(['hardware_serial', 'device_id'])
    .where(sql.ref('hardware_serial'), 'is not', null)
    .execute();
  await db.schema
    .createIndex('devices_enrolled')
    .on('devices')
    .columns(['group_name', 'device_id'])
    .where(sql.ref('state'), '=', sql.lit('enrolled'))
    .execute();
}

async function createRequests(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('enrollment_requests')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // No reference: the device may be unknown yet.
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('group_name', 'text', (c) => c.notNull())
    .addColumn('grounds', 'text', (c) => c.notNull())
    .addColumn('door', 'text', (c) => c.notNull())
    .addColumn('address', 'text', (c) => c.notNull())
    .addColumn('key_kind', 'text', (c) => c.notNull())
    .addColumn('spki_sha256', 'text', (c) => c.notNull())
    .addColumn('proof_level', 'text', (c) => c.notNull())
    .addColumn('hardware_serial', 'text')
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('asked_at', 'bigint', (c) => c.notNull())
    .addColumn('last_asked_at', 'bigint', (c) => c.notNull())
    .addColumn('times_asked', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('decided_at', 'bigint')
    .addColumn('decided_by', 'text')
    .addColumn('note', 'text')
    .execute();
  const isOpen = sql<boolean>`state in ('waiting', 'approved')`;
  // One open request of a device and key, whatever happens at once.
  await db.schema
    .createIndex('enrollment_requests_open')
    .unique()
    .on('enrollment_requests')
    .columns(['device_id', 'spki_sha256'])
    .where(isOpen)
    .execute();
  await db.schema
    .createIndex('enrollment_requests_open_expires_at')
    .on('enrollment_requests')
    .column('expires_at')
    .where(isOpen)
    .execute();
  await index(db, 'enrollment_requests', ['device_id', 'spki_sha256', 'asked_at', 'id']);
  await index(db, 'enrollment_requests', ['asked_at', 'id']);
  await index(db, 'enrollment_requests', ['state', 'asked_at', 'id']);
  await index(db, 'enrollment_requests', ['state', 'group_name']);
  await index(db, 'enrollment_requests', ['last_asked_at']);
}

async function createTrust(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('manufacturer_cas')
    .addColumn('group_name', 'text', (c) => c.notNull().references('device_groups.name'))
    .addColumn('sha256', 'text', (c) => c.notNull())
    .addColumn('subject_sha256', 'text', (c) => c.notNull())
    .addColumn('note', 'text')
    .addColumn('added_at', 'bigint', (c) => c.notNull())
    .addColumn('der', types.bytes, (c) => c.notNull())
    .addPrimaryKeyConstraint('manufacturer_cas_key', ['group_name', 'sha256'])
    .execute();
  await index(db, 'manufacturer_cas', ['subject_sha256']);
  await db.schema
    .createTable('registrars')
    .addColumn('name', 'text', (c) => c.primaryKey())
    /** JSON, a list of names. */
    .addColumn('group_names', 'text', (c) => c.notNull())
    .addColumn('serial', 'text', (c) => c.notNull().unique())
    .addColumn('not_after', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .execute();
}

async function createAttempts(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('attempts')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('door', 'text', (c) => c.notNull())
    .addColumn('address', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text')
    .addColumn('outcome', 'text', (c) => c.notNull())
    .addColumn('code', 'text')
    .addColumn('detail', 'text')
    .addColumn('next_action', 'text')
    .addColumn('milliseconds', 'double precision', (c) => c.notNull())
    /** JSON. */
    .addColumn('steps', 'text', (c) => c.notNull())
    .execute();
  await index(db, 'attempts', ['at', 'id']);
  await index(db, 'attempts', ['device_id', 'at', 'id']);
  await index(db, 'attempts', ['outcome', 'at', 'id']);
}

/**
 * Made anew without the reference to devices: a maker's certificate may open the first round trip of a device that is
 * registered by the second. What stood there lived five minutes at most; who loses one asks again.
 */
async function freeChallenges(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  await db.schema.dropTable('attestation_challenges').execute();
  await db.schema
    .createTable('attestation_challenges')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('asked_by', 'text', (c) => c.notNull())
    .addColumn('ek_sha256', 'text', (c) => c.notNull())
    .addColumn('proof_level', 'text', (c) => c.notNull())
    .addColumn('ak_name', 'text', (c) => c.notNull())
    .addColumn('ak_public', types.bytes, (c) => c.notNull())
    .addColumn('secret', types.bytes, (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('used_at', 'bigint')
    .addColumn('ek_certificate', types.bytes)
    .addColumn('ek_chain', types.bytes, (c) => c.notNull())
    .execute();
  await index(db, 'attestation_challenges', ['device_id', 'created_at', 'id']);
  await index(db, 'attestation_challenges', ['expires_at']);
  await db.schema
    .createIndex('attestation_challenges_outstanding')
    .on('attestation_challenges')
    .column('expires_at')
    .where(sql.ref('used_at'), 'is', null)
    .execute();
}

async function index(db: Kysely<unknown>, table: string, columns: string[]): Promise<void> {
  await db.schema
    .createIndex(`${table}_${columns.join('_')}`)
    .on(table)
    .columns(columns)
    .execute();
}
