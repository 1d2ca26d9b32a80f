import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RevocationJob, RevocationJobItem } from '#gateway/domain/revocation-job.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import { addDevices, revocationOf, serialOf, T0 } from './store-records.ts';

const job: RevocationJob = {
  id: 'r-1',
  scope: 'group',
  target: 'line-3',
  reason: 'superseded',
  state: 'running',
  rate: null,
  createdAt: T0,
  createdBy: 'anna',
  finishedAt: null,
};

function itemOf(n: number, change: Partial<RevocationJobItem> = {}): RevocationJobItem {
  return {
    jobId: 'r-1',
    serial: serialOf(n),
    deviceId: null,
    state: 'waiting',
    closedAfterMs: null,
    detail: null,
    ...change,
  };
}

export function describeRevocationTables(name: string, open: OpenStore): void {
  describe(`${name}: revocations in bulk`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    it('keeps a job with its items and gives both back as they were', async () => {
      const items = [itemOf(1), itemOf(2, { state: 'failed', detail: 'why' })];
      await store.write(({ revocationJobs }) => revocationJobs.insert(job, items));
      expect(await store.read.revocationJobs.find('r-1')).toEqual(job);
      expect(await store.read.revocationJobs.listItems('r-1', { limit: 9 })).toEqual(items);
      expect(await store.read.revocationJobs.find('r-2')).toBeUndefined();
    });

    it('adds only items that are not there, and leaves those that are as they have become', async () => {
      await store.write(({ revocationJobs }) => revocationJobs.insert(job, [itemOf(1, { state: 'revoked' })]));
      const added = await store.write(({ revocationJobs }) => revocationJobs.addItems([itemOf(1), itemOf(2)]));
      expect(added).toBe(1);
      expect(await store.read.revocationJobs.countItems('r-1')).toEqual(
        new Map([
          ['revoked', 1],
          ['waiting', 1],
        ]),
      );
    });

    it('pages items by serial, in a state or all', async () => {
      const items = Array.from({ length: 5 }, (_, n) => itemOf(n, { state: n % 2 === 0 ? 'waiting' : 'revoked' }));
      await store.write(({ revocationJobs }) => revocationJobs.insert(job, items));
      const list = async (page: Parameters<typeof store.read.revocationJobs.listItems>[1]) =>
        (await store.read.revocationJobs.listItems('r-1', page)).map(({ serial }) => serial);
      expect(await list({ limit: 2, state: 'waiting' })).toEqual([serialOf(0), serialOf(2)]);
      expect(await list({ limit: 2, state: 'waiting', after: serialOf(2) })).toEqual([serialOf(4)]);
      expect(await list({ limit: 2, after: serialOf(1) })).toEqual([serialOf(2), serialOf(3)]);
    });

    it('changes what is named of an item and of a job, and nothing else', async () => {
      await store.write(({ revocationJobs }) => revocationJobs.insert(job, [itemOf(1), itemOf(2)]));
      await store.write(async ({ revocationJobs }) => {
        await revocationJobs.updateItem('r-1', serialOf(1), { state: 'revoked' });
        await revocationJobs.updateItem('r-1', serialOf(1), { closedAfterMs: 4.5 });
        await revocationJobs.updateItem('r-1', serialOf(1), { detail: 'said' });
        await revocationJobs.update('r-1', { state: 'paused', rate: 7 });
      });
      expect(await store.read.revocationJobs.listItems('r-1', { limit: 9 })).toEqual([
        itemOf(1, { state: 'revoked', closedAfterMs: 4.5, detail: 'said' }),
        itemOf(2),
      ]);
      expect(await store.read.revocationJobs.find('r-1')).toEqual({ ...job, state: 'paused', rate: 7 });
    });

    it('gives the times to the closed socket in order, of this job and of those that had one', async () => {
      const items = [itemOf(1, { closedAfterMs: 30 }), itemOf(2, { closedAfterMs: 4.5 }), itemOf(3)];
      await store.write(async ({ revocationJobs }) => {
        await revocationJobs.insert(job, items);
        await revocationJobs.insert({ ...job, id: 'r-2' }, [itemOf(9, { jobId: 'r-2', closedAfterMs: 1 })]);
      });
      expect(await store.read.revocationJobs.listClosedAfter('r-1')).toEqual([4.5, 30]);
    });

    it('lists jobs newest first, page by page and by state', async () => {
      await store.write(async ({ revocationJobs }) => {
        for (let n = 1; n <= 3; n += 1) {
          const state = n === 2 ? 'finished' : 'running';
          await revocationJobs.insert({ ...job, id: `r-${n}`, createdAt: T0 + n, state }, []);
        }
      });
      const list = async (page: Parameters<typeof store.read.revocationJobs.list>[0]) =>
        (await store.read.revocationJobs.list(page)).map(({ id }) => id);
      expect(await list({ limit: 2 })).toEqual(['r-3', 'r-2']);
      expect(await list({ limit: 2, after: 'r-2' })).toEqual(['r-1']);
      expect(await list({ limit: 9, state: 'running' })).toEqual(['r-3', 'r-1']);
    });

    it('forgets a revocation that was only a hold, so that another may stand in its place', async () => {
      await addDevices(store, 'press-7');
      await store.write(({ revocations }) => revocations.insert(revocationOf(1, { reason: 'certificateHold' })));
      await store.write(({ revocations }) => revocations.remove(serialOf(1)));
      expect(await store.read.revocations.find(serialOf(1))).toBeUndefined();
      const isNew = await store.write(({ revocations }) =>
        revocations.insert(revocationOf(1, { reason: 'keyCompromise' })),
      );
      expect(isNew).toBe(true);
    });
  });
}
