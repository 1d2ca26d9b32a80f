import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Store, StoreError, type Tables } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import { addDevices, deviceNamed, entryAbout } from './store-records.ts';

export function describeTransactions(name: string, open: OpenStore): void {
  describe(`${name}: transactions`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    const set = (key: string, value: string) => store.write(({ settings }) => settings.set(key, value));
    const get = (key: string) => store.read.settings.get(key);

    it('returns what the work returns, after the commit', async () => {
      await expect(store.write(() => Promise.resolve(42))).resolves.toBe(42);
      expect(await store.write(async ({ settings }) => settings.set('a', '1').then(() => 'done'))).toBe('done');
      expect(await get('a')).toBe('1');
    });

    it('does not show outside what a work has written until it is committed', async () => {
      const seen: (string | undefined)[] = [];
      await store.write(async ({ settings }) => {
        await settings.set('a', '1');
        seen.push(await settings.get('a'), await get('a'));
      });
      expect(seen).toEqual(['1', undefined]);
      expect(await get('a')).toBe('1');
    });

    it('takes back all that a failing work wrote, rejects with its own error, and keeps its neighbours', async () => {
      const failure = new Error('the work itself failed');
      const [first, second, third] = await Promise.allSettled([
        set('a', '1'),
        store.write(async ({ settings, audit }) => {
          await settings.set('a', 'overwritten');
          await settings.set('b', '2');
          await audit.append(entryAbout('b'));
          throw failure;
        }),
        set('c', '3'),
      ]);
      expect(first.status).toBe('fulfilled');
      expect(second).toEqual({ status: 'rejected', reason: failure });
      expect(third.status).toBe('fulfilled');
      expect([await get('a'), await get('b'), await get('c')]).toEqual(['1', undefined, '3']);
      expect(await store.read.audit.list({ limit: 9 })).toEqual([]);
    });

    it('rejects when a work throws before it returns a promise', async () => {
      const thrown = store.write(() => {
        throw new RangeError('at once');
      });
      await expect(thrown).rejects.toThrow(RangeError);
      await set('a', '1');
    });

    it('takes back the whole work when one of its rows conflicts', async () => {
      const [id] = await addDevices(store, 'press-7');
      const work = store.write(async ({ settings, devices }) => {
        await settings.set('a', '1');
        await devices.insert(deviceNamed(id!));
      });
      await expect(work).rejects.toBeInstanceOf(StoreError);
      expect(await get('a')).toBeUndefined();
    });

    it('refuses a row that refers to a device that is not there', async () => {
      await addDevices(store);
      const orphan = store.write(({ sessions }) =>
        sessions.open(deviceNamed('nobody').deviceId, { serial: 's', address: '::1', since: 1 }),
      );
      await expect(orphan).rejects.toThrow();
    });

    it('runs works one after the other even when they wait for something else in between', async () => {
      await set('count', '0');
      await Promise.all(
        Array.from({ length: 20 }, () =>
          store.write(async ({ settings }) => {
            const before = Number(await settings.get('count'));
            await new Promise((resolve) => setImmediate(resolve));
            await settings.set('count', String(before + 1));
          }),
        ),
      );
      expect(await get('count')).toBe('20');
    });

    it('commits more works at once than fit in one batch', async () => {
      const [id] = await addDevices(store, 'press-7');
      const taken = await Promise.all(
        Array.from({ length: 1000 }, () => store.write(({ devices }) => devices.takeNoticeSeq(id!, 0))),
      );
      expect(new Set(taken).size).toBe(1000);
      expect((await store.read.devices.find(id!))?.noticeSeq).toBe(1000);
    });

    it('gives tables that refuse once their transaction has ended', async () => {
      let leaked: Tables | undefined;
      await store.write((tables) => {
        leaked = tables;
        return tables.settings.set('a', '1');
      });
      await expect(leaked?.settings.set('a', '2')).rejects.toThrow(/has ended/);
      await expect(leaked?.certificates.list({ limit: 1 })).rejects.toThrow(/has ended/);
      expect(await get('a')).toBe('1');
    });

    it('cannot be written to through its reading side', async () => {
      await expect(store.read.settings.set('a', '1')).rejects.toThrow();
      expect(await get('a')).toBeUndefined();
    });

    it('probes with a write that succeeds again and again', async () => {
      await store.probe();
      await Promise.all([store.probe(), store.probe()]);
    });

    it('finishes what waits when it is closed, and refuses what comes after', async () => {
      const waiting = Array.from({ length: 300 }, (_, i) => set('a', String(i)));
      const closed = store.close();
      const late = set('a', 'late');
      await expect(late).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await Promise.all(waiting);
      await closed;
      await store.close();
      await expect(get('a')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await expect(store.probe()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    });
  });
}
