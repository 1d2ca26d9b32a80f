import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { givesUpAt } from '#gateway/domain/renewal-campaign.ts';
import { first } from '#gateway/store/migrations/0001-first.ts';
import { tpm } from '#gateway/store/migrations/0002-tpm.ts';
import { enrollmentWays } from '#gateway/store/migrations/0003-enrollment-ways.ts';
import { fleet } from '#gateway/store/migrations/0004-fleet.ts';
import { lookAlikes } from '#gateway/store/migrations/0005-look-alikes.ts';
import { due } from '#gateway/store/migrations/0006-due.ts';
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

it('brings a database of the second version to this one: its tickets and devices go on, and the new ways are open', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-upgrade-'));
  try {
    const path = join(folder, 'gateway.db');
    await makeSecondVersion(path);
    const store = await openSqliteStore(path);
    try {
      const id = parseDeviceId('press-7');
      expect(await store.read.tickets.find('t-1')).toMatchObject({ deviceId: 'press-7', claimSerial: null });
      expect(await store.read.enrollments.find('a-1')).toMatchObject({
        grounds: null,
        group: null,
        requestId: null,
        serverKeyFor: null,
        ticketId: 't-1',
      });
      expect(await store.read.endorsements.find(id)).toMatchObject({ akName: '00' });
      expect(await store.read.groups.find('default')).toMatchObject({
        policy: { approval: 'registered', networks: [] },
      });
      // Two that would be refused today go on as they are.
      const twins = [{ deviceId: 'PRESS-7' }, { deviceId: 'press-7' }];
      expect(await store.read.devices.listByHardwareSerial('SN-1')).toMatchObject(twins);
      expect(await store.read.devices.listByName(id)).toMatchObject(twins);
      // Five minutes of challenges are lost, and asked for again.
      expect(await store.read.challenges.listByDevice(id)).toEqual([]);
      expect(await store.read.enrollmentRequests.list({ limit: 9 })).toEqual([]);
    } finally {
      await store.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it('lets a campaign that runs wait a day for devices that are away, and finds them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-upgrade-'));
  try {
    const path = join(folder, 'gateway.db');
    await makeSecondVersion(path);
    const database = new Sqlite(path);
    const db = new Kysely<unknown>({ dialect: new SqliteDialect({ database }) });
    for (const migration of [enrollmentWays, fleet, lookAlikes, due]) {
      await migration.up(db, TYPES);
      database.prepare('INSERT INTO schema_migrations VALUES (?, ?)').run(migration.number, migration.name);
    }
    database.exec(`
      INSERT INTO renewal_campaigns VALUES ('rc-1', NULL, 'why', 'running', 1, 'anna', 1, 5, 60, 5, NULL, NULL);
      INSERT INTO renewal_campaign_items VALUES ('rc-1', 'press-7', '01', 1, 'ordered', 'n-1', NULL, 1);
    `);
    await db.destroy();
    const store = await openSqliteStore(path);
    try {
      const campaign = await store.read.renewalCampaigns.find('rc-1');
      expect(campaign).toMatchObject({ giveUpSeconds: 86_400, lastTurnAt: null });
      expect(campaign && givesUpAt(campaign)).toBe(5 + 86_400_000);
      expect(await store.read.renewalCampaigns.hasItems('rc-1', 'ordered')).toBe(true);
    } finally {
      await store.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

async function makeSecondVersion(path: string): Promise<void> {
  await makeFirstVersion(path);
  const database = new Sqlite(path);
  const db = new Kysely<unknown>({ dialect: new SqliteDialect({ database }) });
  await tpm.up(db, TYPES);
  database.exec(`
    INSERT INTO schema_migrations VALUES (2, 'tpm');
    UPDATE devices SET hardware_serial = 'SN-1';
    INSERT INTO devices VALUES ('PRESS-7', 'default', 'registered', 'software', 'sn-1', NULL, 0, 0);
    INSERT INTO tickets VALUES ('t-1', 'press-7', 'hash', 0, 9, 'anna', NULL, NULL, NULL, NULL);
    UPDATE enrollments SET ticket_id = 't-1';
    INSERT INTO tpm_endorsements VALUES ('press-7', 'ek', '00', 'tpm', 0, 0, x'00', NULL, x'3000');
    INSERT INTO attestation_challenges VALUES ('c-1', 'press-7', 'ticket:t-1', 'ek', 'tpm', '00', x'00', x'00', 0, 9, NULL, NULL, x'3000');
  `);
  await db.destroy();
}

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
