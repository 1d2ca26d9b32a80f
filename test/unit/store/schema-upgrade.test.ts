import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { first } from '#gateway/store/migrations/0001-first.ts';
import type { ColumnTypes } from '#gateway/store/migrations/migration.ts';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';

const TYPES: ColumnTypes = {
  bytes: 'blob',
  countedId: 'integer',
  counted: (column) => column.primaryKey().autoIncrement(),
};

it('brings a database of the first version to this one, with what was in it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-upgrade-'));
  try {
    const path = join(folder, 'gateway.db');
    await makeFirstVersion(path);
    const store = await openSqliteStore(path);
    try {
      const id = parseDeviceId('press-7');
      expect(await store.read.devices.find(id)).toMatchObject({ deviceId: 'press-7', proofLevel: 'software' });
      expect(await store.read.enrollments.find('a-1')).toMatchObject({ evidenceSha256: null, state: 'confirmed' });
      expect(await store.read.endorsements.find(id)).toBeUndefined();
      expect(await store.read.challenges.hasOutstanding(1, 0)).toBe(false);
    } finally {
      await store.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

async function makeFirstVersion(path: string): Promise<void> {
  const database = new Sqlite(path);
  const db = new Kysely<unknown>({ dialect: new SqliteDialect({ database }) });
  await first.up(db, TYPES);
  database.pragma('application_id = 0x47544853');
  database.exec(`
    CREATE TABLE schema_migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO schema_migrations VALUES (1, 'first');
    INSERT INTO device_groups VALUES ('default', 1);
    INSERT INTO group_policies VALUES ('default', 1, '{}', 0, 'gateway');
    INSERT INTO devices VALUES ('press-7', 'default', 'enrolled', 'software', NULL, NULL, 0, 0);
    INSERT INTO enrollments VALUES ('a-1', 'press-7', 'enroll', 'est', '::1', 'ec-p256', 'x', NULL, NULL, '01', '{}', 'confirmed', 0, 0);
  `);
  await db.destroy();
}
