import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, Migration } from './migration.ts';

/** A whole fleet: renewals with their windows and campaigns, revocations in bulk, status lists, CA generations, alarms. */
export const fleet: Migration = {
  number: 4,
  name: 'fleet',
  async up(db, types) {
    await extendCertificates(db);
    await extendDevices(db);
    await createStatus(db, types);
    await createCampaigns(db);
    await createRevocationJobs(db);
    await createCaGenerations(db, types);
    await createAlarms(db);
  },
};

async function extendCertificates(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('certificates').addColumn('lineage_id', 'text').execute();
  await db.schema.alterTable('certificates').addColumn('renew_from', 'bigint').execute();
  await db.schema.alterTable('certificates').addColumn('renew_until', 'bigint').execute();
  await index(db, 'certificates', ['lineage_id']);
  await index(db, 'certificates', ['issuer_key_id', 'state', 'serial']);
  await db.schema
    .createIndex('certificates_renew_from')
    .on('certificates')
    // With the state in front: only then it is taken before the index of states.
    .columns(['state', 'renew_from', 'serial'])
    .where(sql.ref('state'), '=', sql.lit('active'))
    .execute();
}

async function extendDevices(db: Kysely<unknown>): Promise<void> {
  // Fingerprint of the anchors the device has said it uses, and when it last did.
  await db.schema.alterTable('devices').addColumn('trust_seen', 'text').execute();
  await db.schema.alterTable('devices').addColumn('trust_seen_at', 'bigint').execute();
  // Highest count of its own that it has reported: one that goes back is a restored or copied state.
  await db.schema.alterTable('devices').addColumn('report_count', 'bigint').execute();
  // JSON: what its agent said last.
  await db.schema.alterTable('devices').addColumn('last_report', 'text').execute();
}

async function createStatus(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  // What happened to serials, in order: lists are updated from what is new here and never from all there is.
  await db.schema
    .createTable('status_changes')
    .addColumn('seq', types.countedId, (c) => types.counted(c))
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('issuer_key_id', 'text', (c) => c.notNull())
    .addColumn('change', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('not_after', 'bigint', (c) => c.notNull())
    .execute();
  await index(db, 'status_changes', ['at', 'seq']);
  await index(db, 'status_changes', ['not_after', 'seq']);
  await sql`
    insert into status_changes (serial, issuer_key_id, change, reason, at, not_after)
    select r.serial, c.issuer_key_id, 'revoked', r.reason, r.revoked_at, r.not_after
    from revocations r join certificates c on c.serial = r.serial
    order by r.revoked_at, r.serial`.execute(db);
  await db.schema
    .createTable('status_lists')
    .addColumn('scope', 'text', (c) => c.notNull())
    .addColumn('number', 'bigint', (c) => c.notNull())
    .addColumn('base_number', 'bigint')
    .addColumn('this_update', 'bigint', (c) => c.notNull())
    .addColumn('next_update', 'bigint', (c) => c.notNull())
    .addColumn('entries', 'bigint', (c) => c.notNull())
    // Status changes up to this one are on it.
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('status_lists_key', ['scope', 'number'])
    .execute();
  await index(db, 'status_lists', ['number']);
}

async function createCampaigns(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('renewal_campaigns')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('group_name', 'text')
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('starts_at', 'bigint', (c) => c.notNull())
    .addColumn('ends_at', 'bigint', (c) => c.notNull())
    .addColumn('per_minute', 'bigint', (c) => c.notNull())
    .addColumn('abort_percent', 'bigint', (c) => c.notNull())
    .addColumn('finished_at', 'bigint')
    .addColumn('detail', 'text')
    .execute();
  await index(db, 'renewal_campaigns', ['state', 'created_at', 'id']);
  await index(db, 'renewal_campaigns', ['created_at', 'id']);
  await db.schema
    .createTable('renewal_campaign_items')
    .addColumn('campaign_id', 'text', (c) => c.notNull().references('renewal_campaigns.id'))
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('slot_at', 'bigint', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('notice_id', 'text')
    .addColumn('detail', 'text')
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('renewal_campaign_items_key', ['campaign_id', 'device_id'])
    .execute();
  await index(db, 'renewal_campaign_items', ['campaign_id', 'state', 'slot_at']);
  await index(db, 'renewal_campaign_items', ['serial']);
}

async function createRevocationJobs(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('revocation_jobs')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('scope', 'text', (c) => c.notNull())
    .addColumn('target', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    // Certificates per second; null: as fast as it goes.
    .addColumn('rate', 'bigint')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('finished_at', 'bigint')
    .execute();
  await index(db, 'revocation_jobs', ['state', 'created_at', 'id']);
  await index(db, 'revocation_jobs', ['created_at', 'id']);
  await db.schema
    .createTable('revocation_job_items')
    .addColumn('job_id', 'text', (c) => c.notNull().references('revocation_jobs.id'))
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text')
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('closed_after_ms', 'double precision')
    .addColumn('detail', 'text')
    .addPrimaryKeyConstraint('revocation_job_items_key', ['job_id', 'serial'])
    .execute();
  await index(db, 'revocation_job_items', ['job_id', 'state', 'serial']);
}

async function createCaGenerations(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('ca_generations')
    .addColumn('sha256', 'text', (c) => c.primaryKey())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('changed_at', 'bigint', (c) => c.notNull())
    .addColumn('reason', 'text')
    .addColumn('der', types.bytes, (c) => c.notNull())
    .execute();
}

async function createAlarms(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('identity_alarms')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('device_id', 'text', (c) => c.notNull().references('devices.device_id'))
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    // JSON: what was seen.
    .addColumn('evidence', 'text', (c) => c.notNull())
    .addColumn('decision', 'text')
    .addColumn('resolved_at', 'bigint')
    .addColumn('resolved_by', 'text')
    .execute();
  await index(db, 'identity_alarms', ['device_id', 'at', 'id']);
  await index(db, 'identity_alarms', ['state', 'at', 'id']);
  await index(db, 'identity_alarms', ['at', 'id']);
}

async function index(db: Kysely<unknown>, table: string, columns: string[]): Promise<void> {
  await db.schema
    .createIndex(`${table}_${columns.join('_')}`)
    .on(table)
    .columns(columns)
    .execute();
}
