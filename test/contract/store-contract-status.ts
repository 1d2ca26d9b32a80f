import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StatusChange, StatusList } from '#gateway/domain/status-change.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import { DAY, serialOf, T0 } from './store-records.ts';

function changeOf(n: number, change: Partial<StatusChange> = {}): Omit<StatusChange, 'seq'> {
  return {
    serial: serialOf(n),
    issuerKeyId: 'key-1',
    change: 'revoked',
    reason: 'superseded',
    at: T0 + n,
    notAfter: T0 + n * DAY,
    ...change,
  };
}

function listOf(scope: string, number: number): StatusList {
  return {
    scope,
    number,
    baseNumber: scope.startsWith('delta') ? number - 1 : null,
    thisUpdate: T0 + number * 1000,
    nextUpdate: T0 + DAY,
    entries: 3,
    seq: number * 10,
  };
}

export function describeStatusTables(name: string, open: OpenStore): void {
  describe(`${name}: status changes and lists`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    async function append(...changes: Omit<StatusChange, 'seq'>[]): Promise<void> {
      await store.write(async ({ statusChanges }) => {
        for (const change of changes) await statusChanges.append(change);
      });
    }

    it('numbers changes upwards and gives them back in order, page by page', async () => {
      expect(await store.read.statusChanges.newestSeq()).toBe(0);
      await append(changeOf(1), changeOf(2, { change: 'released' }), changeOf(3, { change: 'revoked-unlisted' }));
      const [first, second] = await store.read.statusChanges.listAfter(0, 2);
      expect(first).toEqual({ ...changeOf(1), seq: first!.seq });
      const rest = await store.read.statusChanges.listAfter(second!.seq, 2);
      expect(rest).toEqual([{ ...changeOf(3, { change: 'revoked-unlisted' }), seq: rest[0]!.seq }]);
      expect(await store.read.statusChanges.newestSeq()).toBe(rest[0]!.seq);
      expect(await store.read.statusChanges.listAfter(rest[0]!.seq, 2)).toEqual([]);
    });

    it('drops changes of ended certificates, oldest end first, but none that is wanted and never the newest', async () => {
      await append(changeOf(1), changeOf(5), changeOf(2), changeOf(3), changeOf(1));
      const all = await store.read.statusChanges.listAfter(0, 10);
      const seqs = all.map(({ seq }) => seq);
      const prune = (endedBefore: number, before: number, limit: number) =>
        store.write(({ statusChanges }) => statusChanges.prune(endedBefore, before, limit));
      expect(await prune(T0 + 4 * DAY, seqs[3]!, 1)).toBe(1);
      expect(await prune(T0 + 4 * DAY, seqs[3]!, 10)).toBe(1);
      expect(await prune(T0 + 9 * DAY, seqs[4]! + 100, 10)).toBe(2);
      expect((await store.read.statusChanges.listAfter(0, 10)).map(({ seq }) => seq)).toEqual([seqs[4]]);
      await append(changeOf(7));
      expect(await store.read.statusChanges.newestSeq()).toBeGreaterThan(seqs[4]!);
    });

    it('has the newest list of each scope, and the highest number of all', async () => {
      expect(await store.read.statusLists.latest('full@a')).toBeUndefined();
      expect(await store.read.statusLists.highestNumber()).toBe(0);
      const lists = [listOf('full@a', 9), listOf('full@a', 10), listOf('delta@a', 10), listOf('full@b', 2)];
      await store.write(async ({ statusLists }) => {
        for (const list of lists) await statusLists.insert(list);
      });
      expect(await store.read.statusLists.latest('full@a')).toEqual(lists[1]);
      expect(await store.read.statusLists.latest('delta@a')).toEqual(lists[2]);
      expect(await store.read.statusLists.highestNumber()).toBe(10);
      await expect(store.write(({ statusLists }) => statusLists.insert(listOf('full@a', 9)))).rejects.toMatchObject({
        code: 'CONFLICT',
      });
    });

    it('drops all but the newest lists of one scope', async () => {
      await store.write(async ({ statusLists }) => {
        for (const number of [1, 2, 3, 4]) await statusLists.insert(listOf('full@a', number));
        await statusLists.insert(listOf('full@b', 1));
        await statusLists.prune('full@a', 2);
      });
      expect((await store.read.statusLists.latest('full@a'))?.number).toBe(4);
      expect((await store.read.statusLists.latest('full@b'))?.number).toBe(1);
      // Gone, so there is room for it again.
      await store.write(({ statusLists }) => statusLists.insert(listOf('full@a', 2)));
      await expect(store.write(({ statusLists }) => statusLists.insert(listOf('full@a', 3)))).rejects.toMatchObject({
        code: 'CONFLICT',
      });
    });
  });
}
