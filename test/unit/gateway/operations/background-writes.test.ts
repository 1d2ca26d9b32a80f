import { afterEach, beforeEach, expect, test } from 'vitest';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { BackgroundWrites } from '#gateway/operations/background-writes.ts';
import type { LogFacts } from '#gateway/ports/log.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { type FaultyStore, faultyStore } from '#test/fakes/faulty-store.ts';
import { openTemporaryStore, type TemporaryStore } from '#test/fakes/temporary-store.ts';

let temporary: TemporaryStore;
let store: FaultyStore;
let lines: { message: string; facts: LogFacts | undefined }[];

beforeEach(async () => {
  temporary = await openTemporaryStore();
  store = faultyStore(temporary.store);
  lines = [];
});
afterEach(() => temporary.close());

const note = (message: string, facts?: LogFacts) => void lines.push({ message, facts });

function background(delayMs = 60_000, batchSize = 100): BackgroundWrites {
  return new BackgroundWrites(
    { store, log: { debug: note, info: note, warn: note, error: note } },
    { delayMs, batchSize },
  );
}

const record = (subject: string) => async (tables: Tables) => {
  await tables.audit.append(auditEntry({ at: 1, actor: 'test', action: 'session.opened', subject }));
};

/** In the order in which they were written. */
async function written(): Promise<(string | null)[]> {
  return (await store.read.audit.list({ limit: 1000 })).map(({ subject }) => subject).toReversed();
}

test('what comes within the delay shares one write, in its order', async () => {
  const writes = background(20);
  const last = new Promise<void>((resolve) => {
    for (let i = 0; i < 10; i += 1) writes.add(record(`d-${i}`));
    writes.add(async () => resolve());
  });
  await last;
  await writes.flush();
  expect(store.writes).toBe(1);
  expect(await written()).toEqual(Array.from({ length: 10 }, (_, i) => `d-${i}`));
});

test('a flush writes everything at once, also what is added while it writes', async () => {
  const writes = background();
  writes.add(async (tables) => {
    await record('first')(tables);
    writes.add(record('second'));
  });
  await writes.flush();
  await writes.flush();
  expect(await written()).toEqual(['first', 'second']);
  await store.close();
  expect(lines).toEqual([]);
});

test('a full batch does not wait for the delay, and the next ones keep their order', async () => {
  const writes = background(60_000, 4);
  for (let i = 0; i < 10; i += 1) writes.add(record(`d-${i}`));
  await writes.flush();
  expect(await written()).toEqual(Array.from({ length: 10 }, (_, i) => `d-${i}`));
  expect(store.writes).toBe(3);
});

test('one work that fails costs the others nothing', async () => {
  const writes = background();
  writes.add(record('before'));
  writes.add(async (tables) => {
    await record('taken back')(tables);
    throw new Error('a bad row');
  });
  writes.add(record('after'));
  await writes.flush();
  expect(await written()).toEqual(['before', 'after']);
  expect(lines).toEqual([{ message: 'records lost', facts: { count: 1, error: 'Error: a bad row' } }]);
});

test.each(['before', 'during', 'after'] as const)(
  'nothing is written twice when the store breaks %s the write, and the next ones go on',
  async (fault) => {
    const writes = background();
    store.failNext(fault);
    writes.add(record('a'));
    writes.add(record('b'));
    await writes.flush();
    writes.add(record('c'));
    await writes.flush();
    expect(await written()).toEqual(fault === 'after' ? ['a', 'b', 'c'] : ['c']);
    expect(lines).toMatchObject([{ message: 'records lost', facts: { count: 2 } }]);
  },
);
