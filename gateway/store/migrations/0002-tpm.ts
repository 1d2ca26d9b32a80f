import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, Migration } from './migration.ts';

/** Keys in TPMs: what is known of each device's TPM, challenges under way, and whom operators trust as makers. */
export const tpm: Migration = {
  number: 2,
  name: 'tpm',
  async up(db, types) {
    await db.schema.alterTable('enrollments').addColumn('evidence_sha256', 'text').execute();
    await createEndorsements(db, types);
    await createChallenges(db, types);
    await createTrust(db, types);
  },
};

async function createEndorsements(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('tpm_endorsements')
    .addColumn('device_id', 'text', (c) => c.primaryKey().references('devices.device_id'))
    // Two devices with one EK are one TPM.
    .addColumn('ek_sha256', 'text', (c) => c.notNull().unique())
    .addColumn('ak_name', 'text', (c) => c.notNull())
    .addColumn('proof_level', 'text', (c) => c.notNull())
    .addColumn('first_seen', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addColumn('ak_public', types.bytes, (c) => c.notNull())
    .addColumn('ek_certificate', types.bytes)
    .addColumn('ek_chain', types.bytes, (c) => c.notNull())
    .execute();
}

async function createChallenges(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('attestation_challenges')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('device_id', 'text', (c) => c.notNull().references('devices.device_id'))
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
  await db.schema
    .createIndex('attestation_challenges_device_id_created_at_id')
    .on('attestation_challenges')
    .columns(['device_id', 'created_at', 'id'])
    .execute();
  await db.schema
    .createIndex('attestation_challenges_expires_at')
    .on('attestation_challenges')
    .column('expires_at')
    .execute();
  await db.schema
    .createIndex('attestation_challenges_outstanding')
    .on('attestation_challenges')
    .column('expires_at')
    .where(sql.ref('used_at'), 'is', null)
    .execute();
}

async function createTrust(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('ek_allow_list')
    .addColumn('ek_sha256', 'text', (c) => c.primaryKey())
    .addColumn('note', 'text')
    // No reference: an EK may be allowed for a device that is registered later.
    .addColumn('device_id', 'text')
    .addColumn('added_at', 'bigint', (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('tpm_roots')
    .addColumn('sha256', 'text', (c) => c.primaryKey())
    .addColumn('subject_sha256', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('note', 'text')
    .addColumn('added_at', 'bigint', (c) => c.notNull())
    .addColumn('der', types.bytes, (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('tpm_roots_subject_sha256')
    .on('tpm_roots')
    .columns(['subject_sha256', 'sha256'])
    .execute();
}
