import type { Kysely } from 'kysely';
import { StoreError } from '#gateway/ports/store.ts';
import { first } from './migrations/0001-first.ts';
import { tpm } from './migrations/0002-tpm.ts';
import { enrollmentWays } from './migrations/0003-enrollment-ways.ts';
import { fleet } from './migrations/0004-fleet.ts';
import { lookAlikes } from './migrations/0005-look-alikes.ts';
import { due } from './migrations/0006-due.ts';
import { absentDevices } from './migrations/0007-absent-devices.ts';
import type { ColumnTypes, Migration } from './migrations/migration.ts';
import type { Database } from './schema.ts';

/** In order; only ever appended to. */
const MIGRATIONS: readonly Migration[] = [first, tpm, enrollmentWays, fleet, lookAlikes, due, absentDevices];

/** The schema this version of the code reads and writes. */
const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Brings the schema to SCHEMA_VERSION. The caller holds one transaction around it that keeps every other writer out, so
 * that two processes starting at once do not both migrate, and a step that fails leaves the schema as it was.
 * @throws StoreError SCHEMA_TOO_NEW when a later version of Gatehouse has been here; nothing is changed then.
 */
export async function migrate(db: Kysely<Database>, types: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('schema_migrations')
    .ifNotExists()
    .addColumn('number', 'integer', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .execute();
  const newest = await db
    .selectFrom('schema_migrations')
    .select(['number', 'name'])
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (newest !== undefined && newest.number > SCHEMA_VERSION) {
    throw new StoreError(
      'SCHEMA_TOO_NEW',
      `the database has schema ${newest.number} (${newest.name}), this version knows ${SCHEMA_VERSION}: ` +
        'start the version that made it, or restore the backup from before the upgrade',
    );
  }
  for (const migration of MIGRATIONS.slice(newest?.number ?? 0)) {
    await migration.up(db as unknown as Kysely<unknown>, types);
    await db.insertInto('schema_migrations').values({ number: migration.number, name: migration.name }).execute();
  }
}
