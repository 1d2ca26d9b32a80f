import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { Store } from '#gateway/ports/store.ts';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';
import { serialOf } from '#test/contract/store-records.ts';
import { openTemporaryStore } from '#test/fakes/temporary-store.ts';

const WRITER = fileURLToPath(import.meta.resolve('#test/contract/store-writer-process.ts'));
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** @returns what the writer had acknowledged when it was killed, after at least `acknowledged` writes. */
async function writeUntilKilled(path: string, name: string, acknowledged: number): Promise<number[]> {
  const child = spawn(process.execPath, [WRITER, path, name, '16'], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const exited = once(child, 'exit');
  const seen: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    seen.push(Number(line));
    if (seen.length === acknowledged) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
  return seen;
}

async function auditedNumbers(store: Store, subject: string): Promise<Set<number>> {
  const events = await store.read.audit.list({ subject, limit: 1_000_000 });
  return new Set(events.map(({ detail }) => Number(detail)));
}

describe('the SQLite store of a process that was killed', () => {
  it('holds everything that was acknowledged and nothing by halves, time after time', async () => {
    await using opened = await openTemporaryStore();
    await opened.store.close();
    for (const [round, name] of ['A', 'B', 'C'].entries()) {
      const acknowledged = await writeUntilKilled(opened.path, name, 40 + 300 * round);
      const store = await openSqliteStore(opened.path);
      try {
        const audited = await auditedNumbers(store, name);
        expect(acknowledged.filter((n) => !audited.has(n))).toEqual([]);
        const certificates = await store.read.certificates.list({ limit: 1_000_000 });
        const stored = new Set(certificates.filter((c) => c.deviceId === name).map(({ serial }) => serial));
        expect(stored).toEqual(new Set([...audited].map(serialOf)));
        await store.probe();
      } finally {
        await store.close();
      }
    }
  });

  it('is not in the way of another process that has the same file open', async () => {
    await using opened = await openTemporaryStore();
    const [first, second] = await Promise.all([
      writeUntilKilled(opened.path, 'A', 300),
      writeUntilKilled(opened.path, 'B', 300),
    ]);
    await opened.store.probe();
    for (const [name, acknowledged] of [
      ['A', first],
      ['B', second],
    ] as const) {
      const audited = await auditedNumbers(opened.store, name);
      expect(acknowledged.filter((n) => !audited.has(n))).toEqual([]);
    }
  });

  it('is made once when several processes start on no file at the same moment', async () => {
    await using opened = await openTemporaryStore();
    const path = `${opened.path}.new`;
    await Promise.all(['A', 'B', 'C'].map((name) => writeUntilKilled(path, name, 20)));
    const store = await openSqliteStore(path);
    try {
      expect((await store.read.devices.list({ limit: 9 })).map(({ deviceId }) => deviceId)).toEqual(['A', 'B', 'C']);
    } finally {
      await store.close();
    }
  });
});
