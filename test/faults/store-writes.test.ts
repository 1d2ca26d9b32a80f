import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import Sqlite from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { StoreError } from '#gateway/ports/store.ts';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';
import { addDevices, certificateOf, entryAbout, serialOf } from '#test/contract/store-records.ts';
import { faultyStore } from '#test/fakes/faulty-store.ts';
import { openTemporaryStore } from '#test/fakes/temporary-store.ts';

const WRITER = fileURLToPath(import.meta.resolve('#test/contract/store-writer-process.ts'));

describe('a store that cannot write', () => {
  it('rejects what does not fit any more, keeps what did, and still reads', async () => {
    await using opened = await openTemporaryStore({ maxBytes: 800 * 1024 });
    const { store } = opened;
    const [id] = await addDevices(store, 'press-7');
    const results = await Promise.allSettled(
      Array.from({ length: 400 }, (_, n) =>
        store.write(async ({ certificates, audit }) => {
          await audit.append(entryAbout('press-7', { detail: String(n) }));
          await certificates.insert(certificateOf(id!, n, { der: Buffer.alloc(3000, n) }));
        }),
      ),
    );
    const kept = results.flatMap(({ status }, n) => (status === 'fulfilled' ? [n] : []));
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    expect(kept.length).toBeGreaterThan(0);
    expect(refused.length).toBeGreaterThan(0);
    for (const reason of refused) expect(reason).toMatchObject({ name: 'StoreError', code: 'UNAVAILABLE' });

    const certificates = await store.read.certificates.list({ limit: 1000 });
    expect(new Set(certificates.map(({ serial }) => serial))).toEqual(new Set(kept.map(serialOf)));
    const audited = (await store.read.audit.list({ limit: 1000 })).map(({ detail }) => Number(detail));
    expect(audited.toSorted((a, b) => a - b)).toEqual(kept);
  });

  it('says so in its probe when the disk is full, and works again when there is room', async () => {
    await using opened = await openTemporaryStore();
    await addDevices(opened.store, 'press-7');
    await opened.store.close();
    const full = await openSqliteStore(opened.path, { maxBytes: 1 });
    try {
      const big = full.write(({ certificates }) =>
        certificates.insert(certificateOf(null, 1, { der: Buffer.alloc(100_000) })),
      );
      await expect(big).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(await full.read.certificates.find(serialOf(1))).toBeUndefined();
    } finally {
      await full.close();
    }
    const roomy = await openSqliteStore(opened.path);
    try {
      await roomy.write(({ certificates }) =>
        certificates.insert(certificateOf(null, 1, { der: Buffer.alloc(100_000) })),
      );
    } finally {
      await roomy.close();
    }
  });

  it('rejects when another program holds the file longer than it will wait, then goes on', async () => {
    await using opened = await openTemporaryStore({ busyMs: 20 });
    const { store, path } = opened;
    const other = new Sqlite(path);
    try {
      other.exec('BEGIN IMMEDIATE');
      const results = await Promise.allSettled([store.probe(), store.write(({ settings }) => settings.set('a', '1'))]);
      for (const result of results) {
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE' } });
      }
      expect(await store.read.settings.get('a')).toBeUndefined();
      other.exec('ROLLBACK');
      await store.probe();
    } finally {
      other.close();
    }
  });

  it('gives a work up that takes too long, takes it back, and lets the others through', async () => {
    await using opened = await openTemporaryStore({ workLimitMs: 500 });
    const { store } = opened;
    let goOn: (() => void) | undefined;
    let late: Promise<void> | undefined;
    const stuck = store.write(async ({ settings }) => {
      await settings.set('stuck', '1');
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      late = settings.set('stuck', '2');
      await late;
    });
    const [stuckResult, next] = await Promise.allSettled([
      stuck,
      store.write(({ settings }) => settings.set('next', '1')),
    ]);
    expect(stuckResult).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE' } });
    expect(next.status).toBe('fulfilled');
    goOn?.();
    await new Promise((resolve) => setImmediate(resolve));
    await expect(late).rejects.toThrow(/has ended/);
    expect([await store.read.settings.get('stuck'), await store.read.settings.get('next')]).toEqual([undefined, '1']);
  });

  // The log file may not grow past what the shell allows: the write that fails is the one of COMMIT itself.
  it('rejects all that shared a commit which failed, and has kept everything it acknowledged', async () => {
    await using opened = await openTemporaryStore();
    await opened.store.close();
    const child = spawn(
      'bash',
      ['-c', 'ulimit -f 1000; exec "$@"', 'bash', process.execPath, WRITER, opened.path, 'A', '16'],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    // 'close' and not 'exit': by then all it said has arrived.
    const exited = once(child, 'close');
    let complaint = '';
    child.stderr.on('data', (chunk: Buffer) => {
      complaint += chunk.toString();
    });
    const acknowledged: number[] = [];
    for await (const line of createInterface({ input: child.stdout })) acknowledged.push(Number(line));
    const [code, signal] = (await exited) as [number | null, string | null];
    expect(signal).toBeNull();
    expect(code).not.toBe(0);
    expect(complaint).toContain('UNAVAILABLE');
    expect(complaint).toContain('could not be committed');

    const store = await openSqliteStore(opened.path);
    try {
      const events = await store.read.audit.list({ subject: 'A', limit: 100_000 });
      const audited = new Set(events.map(({ detail }) => Number(detail)));
      expect(acknowledged.length).toBeGreaterThan(0);
      expect(acknowledged.filter((n) => !audited.has(n))).toEqual([]);
    } finally {
      await store.close();
    }
  });
});

describe('the faulty store for tests', () => {
  it('breaks before, during and after a write as it is told, once each', async () => {
    await using opened = await openTemporaryStore();
    const store = faultyStore(opened.store);
    const set = (value: string) => store.write(({ settings }) => settings.set('a', value));
    store.failNext('before', 'during', 'after');
    await expect(set('1')).rejects.toBeInstanceOf(StoreError);
    await expect(set('2')).rejects.toBeInstanceOf(StoreError);
    expect(await store.read.settings.get('a')).toBeUndefined();
    await expect(set('3')).rejects.toBeInstanceOf(StoreError);
    expect(await store.read.settings.get('a')).toBe('3');
    await set('4');
    expect([await store.read.settings.get('a'), store.writes]).toEqual(['4', 4]);
  });
});
