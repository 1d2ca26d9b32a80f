import { open, stat, writeFile } from 'node:fs/promises';
import Sqlite from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';
import { openTemporaryStore } from '#test/fakes/temporary-store.ts';
import { describeStore } from './store-contract.ts';
import { addDevices, certificateOf, entryAbout, T0 } from './store-records.ts';

describeStore('SQLite', () => openTemporaryStore());

describe('the SQLite file', () => {
  it('is readable by its owner alone, with its log and index, whatever the umask', async () => {
    const before = process.umask(0);
    try {
      await using opened = await openTemporaryStore();
      await opened.store.probe();
      for (const suffix of ['', '-wal', '-shm']) {
        expect((await stat(opened.path + suffix)).mode & 0o777, suffix).toBe(0o600);
      }
      process.umask(0o777);
      await using strict = await openTemporaryStoreIn(opened.path);
      expect((await stat(strict.path)).mode & 0o777).toBe(0o600);
    } finally {
      process.umask(before);
    }
  });

  it('shows a write to every other connection as soon as it has resolved', async () => {
    await using opened = await openTemporaryStore();
    const other = new Sqlite(opened.path, { readonly: true });
    try {
      const [id] = await addDevices(opened.store, 'press-7');
      await opened.store.write(({ certificates }) => certificates.insert(certificateOf(id!, 1)));
      expect(other.prepare('SELECT device_id, state, der FROM certificates').get()).toEqual({
        device_id: 'press-7',
        state: 'pending',
        der: certificateOf(id!, 1).der,
      });
      expect(other.pragma('journal_mode', { simple: true })).toBe('wal');
    } finally {
      other.close();
    }
  });

  it('holds everything after a close and a new opening, without a log left beside it', async () => {
    await using opened = await openTemporaryStore();
    await addDevices(opened.store, 'press-7');
    await opened.store.write(({ audit }) => audit.append(entryAbout('press-7')));
    await opened.store.close();
    await expect(stat(`${opened.path}-wal`)).rejects.toMatchObject({ code: 'ENOENT' });
    const again = await openSqliteStore(opened.path);
    try {
      expect(await again.read.audit.list({ limit: 9 })).toHaveLength(1);
      expect(await again.read.devices.list({ limit: 9 })).toHaveLength(1);
    } finally {
      await again.close();
    }
  });

  it('can be open twice; both write and both see it', async () => {
    await using opened = await openTemporaryStore();
    const second = await openSqliteStore(opened.path);
    try {
      await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          (i % 2 === 0 ? opened.store : second).write(({ audit }) => audit.append(entryAbout(`n-${i}`))),
        ),
      );
      const here = await opened.store.read.audit.list({ limit: 200 });
      expect(new Set(here.map(({ subject }) => subject)).size).toBe(100);
      expect(await second.read.audit.list({ limit: 200 })).toEqual(here);
      const leases = await Promise.all(
        [opened.store, second].map((store, i) =>
          store.write((tables) => tables.leases.acquire('sweep', `holder ${i}`, T0, T0 + 100)),
        ),
      );
      expect(leases.filter(Boolean)).toHaveLength(1);
    } finally {
      await second.close();
    }
  });

  it('of a later version is refused and left as it is', async () => {
    await using opened = await openTemporaryStore();
    await opened.store.close();
    edit(opened.path, "INSERT INTO schema_migrations VALUES (9000, 'from the future')");
    await expect(openSqliteStore(opened.path)).rejects.toMatchObject({
      name: 'StoreError',
      code: 'SCHEMA_TOO_NEW',
      message: expect.stringContaining('9000'),
    });
    edit(opened.path, 'DELETE FROM schema_migrations WHERE number = 9000');
    await (await openSqliteStore(opened.path)).close();
  });

  it('is refused as corrupt when it is no database, or damaged, or of another program', async () => {
    await using opened = await openTemporaryStore();
    const notOne = `${opened.path}.txt`;
    await writeFile(notOne, 'this is not a database at all\n'.repeat(200));
    await expect(openSqliteStore(notOne)).rejects.toMatchObject({ code: 'CORRUPT' });

    const foreign = `${opened.path}.foreign`;
    edit(foreign, 'CREATE TABLE pictures (id INTEGER PRIMARY KEY)');
    await expect(openSqliteStore(foreign)).rejects.toMatchObject({ code: 'CORRUPT' });

    await addDevices(opened.store, ...Array.from({ length: 500 }, (_, i) => `device-${i}`));
    await opened.store.close();
    const root = pageOf(opened.path, 'devices_state_device_id');
    const file = await open(opened.path, 'r+');
    await file.write(Buffer.alloc(4096, 0xa5), 0, 4096, (root - 1) * 4096);
    await file.close();
    await expect(openSqliteStore(opened.path)).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('that cannot be made is told as unavailable', async () => {
    await using opened = await openTemporaryStore();
    await expect(openSqliteStore(`${opened.path}/below/a.db`)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(openSqliteStore('/nowhere/at/all/a.db')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

async function openTemporaryStoreIn(neighbour: string) {
  const path = `${neighbour}.strict`;
  const store = await openSqliteStore(path);
  return { path, store, [Symbol.asyncDispose]: () => store.close() };
}

function edit(path: string, statement: string): void {
  const file = new Sqlite(path);
  try {
    file.exec(statement);
  } finally {
    file.close();
  }
}

function pageOf(path: string, index: string): number {
  const file = new Sqlite(path);
  try {
    return Number(file.prepare('SELECT rootpage FROM sqlite_schema WHERE name = ?').pluck().get(index));
  } finally {
    file.close();
  }
}
