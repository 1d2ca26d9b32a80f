import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import { entryAbout, T0 } from './store-records.ts';

export function describeHouseTables(name: string, open: OpenStore): void {
  describe(`${name}: audit, leases, settings`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    it('numbers audit events upwards and gives them back newest first', async () => {
      const refused = entryAbout('a', {
        action: 'enrollment.refused',
        attemptId: 'a-1',
        outcome: 'refused',
        code: 'TICKET_SPENT',
        detail: 'used before',
      });
      await store.write(({ audit }) => audit.append(entryAbout('a'), refused));
      await store.write(({ audit }) => audit.append());
      const [second, first, ...more] = await store.read.audit.list({ limit: 9 });
      expect(more).toEqual([]);
      expect(second).toEqual({ ...refused, id: second!.id });
      expect(first).toEqual({ ...entryAbout('a'), id: first!.id });
      expect(second!.id).toBeGreaterThan(first!.id);
    });

    it('does not give the number of an event that was taken back a different place in the order', async () => {
      await store.write(({ audit }) => audit.append(entryAbout('first')));
      const failing = store.write(async ({ audit }) => {
        await audit.append(entryAbout('taken back'));
        throw new Error('no');
      });
      await expect(failing).rejects.toThrow('no');
      await store.write(({ audit }) => audit.append(entryAbout('second')));
      expect((await store.read.audit.list({ limit: 9 })).map(({ subject }) => subject)).toEqual(['second', 'first']);
    });

    it('filters and pages audit events', async () => {
      await store.write(({ audit }) =>
        audit.append(
          ...Array.from({ length: 12 }, (_, n) =>
            entryAbout(n % 2 === 0 ? 'even' : 'odd', {
              at: T0 + n,
              action: n < 6 ? 'session.opened' : 'session.closed',
              attemptId: n % 3 === 0 ? 'a-3' : null,
              detail: String(n),
            }),
          ),
        ),
      );
      const { audit } = store.read;
      const details = async (page: Parameters<typeof audit.list>[0]) =>
        (await audit.list(page)).map((e) => Number(e.detail));
      const first = await audit.list({ limit: 2, subject: 'even' });
      expect(first.map((e) => e.detail)).toEqual(['10', '8']);
      expect(await details({ limit: 2, subject: 'even', after: String(first[1]!.id) })).toEqual([6, 4]);
      expect(await details({ limit: 9, attemptId: 'a-3' })).toEqual([9, 6, 3, 0]);
      expect(await details({ limit: 9, action: 'session.opened', subject: 'odd' })).toEqual([5, 3, 1]);
      expect(await details({ limit: 9, since: T0 + 10 })).toEqual([11, 10]);
      expect(await details({ limit: 9, after: 'not a number' })).toEqual([]);
    });

    it('gives a lease to one holder at a time, until it runs out or is given back', async () => {
      expect(await acquire(store, 'one', T0, T0 + 100)).toBe(true);
      expect(await acquire(store, 'two', T0 + 99, T0 + 200)).toBe(false);
      expect(await acquire(store, 'one', T0 + 99, T0 + 150)).toBe(true);
      expect(await acquire(store, 'two', T0 + 149, T0 + 300)).toBe(false);
      expect(await acquire(store, 'two', T0 + 150, T0 + 300)).toBe(true);
      await store.write(({ leases }) => leases.release('sweep', 'one'));
      expect(await acquire(store, 'one', T0 + 151, T0 + 300)).toBe(false);
      await store.write(({ leases }) => leases.release('sweep', 'two'));
      expect(await acquire(store, 'one', T0 + 151, T0 + 300)).toBe(true);
      expect(await store.write(({ leases }) => leases.acquire('other', 'two', T0, T0 + 1))).toBe(true);
    });

    it('gives away a lease that a clock which was set back would make last for hours', async () => {
      expect(await acquire(store, 'dead', T0 + 5000, T0 + 5100)).toBe(true);
      expect(await acquire(store, 'two', T0 + 4950, T0 + 5050)).toBe(false);
      expect(await acquire(store, 'two', T0, T0 + 100)).toBe(true);
    });

    it('keeps settings', async () => {
      expect(await store.read.settings.get('mode')).toBeUndefined();
      await store.write(({ settings }) => settings.set('mode', 'one'));
      await store.write(({ settings }) => settings.set('mode', 'two'));
      await store.write(({ settings }) => settings.set('__proto__', 'x'));
      expect(await store.read.settings.get('mode')).toBe('two');
      expect(await store.read.settings.get('__proto__')).toBe('x');
    });
  });
}

function acquire(store: Store, holder: string, now: number, until: number): Promise<boolean> {
  return store.write(({ leases }) => leases.acquire('sweep', holder, now, until));
}
