import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import { addDevices, DAY, noticeOf, serialOf, T0 } from './store-records.ts';

export function describeSessionTables(name: string, open: OpenStore): void {
  describe(`${name}: sessions and notices`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    it('moves a session that ended from current to last', async () => {
      const [id] = await addDevices(store, 'press-7');
      expect(await store.read.sessions.find(id!)).toBeUndefined();
      await store.write(({ sessions }) => sessions.open(id!, session(1)));
      expect(await store.read.sessions.find(id!)).toEqual({ deviceId: id, current: session(1), last: null });
      await store.write(({ sessions }) => sessions.end(id!, session(1), T0 + 50, 'closed by the device'));
      const last = { ...session(1), endedAt: T0 + 50, endReason: 'closed by the device' };
      expect(await store.read.sessions.find(id!)).toEqual({ deviceId: id, current: null, last });
      await store.write(({ sessions }) => sessions.open(id!, session(2)));
      expect(await store.read.sessions.find(id!)).toEqual({ deviceId: id, current: session(2), last });
    });

    it('moves a session that another one takes over to last, and its late end changes nothing', async () => {
      const [id] = await addDevices(store, 'press-7');
      await store.write(async ({ sessions }) => {
        await sessions.open(id!, session(1));
        await sessions.open(id!, session(2));
        await sessions.end(id!, session(1), T0 + 50, 'too late');
        await sessions.end(id!, { ...session(2), since: T0 }, T0 + 50, 'another one');
        await sessions.end(id!, { ...session(2), serial: serialOf(1) }, T0 + 50, 'another one');
      });
      expect(await store.read.sessions.find(id!)).toEqual({
        deviceId: id,
        current: session(2),
        last: { ...session(1), endedAt: T0 + 2, endReason: 'taken-over' },
      });
    });

    it('ends every session that was left open and counts them', async () => {
      const [a, b, c] = await addDevices(store, 'a', 'b', 'c');
      await store.write(async ({ sessions }) => {
        await sessions.open(a!, session(1));
        await sessions.open(b!, session(2));
        await sessions.open(c!, session(3));
        await sessions.end(c!, session(3), T0 + 9, 'left');
      });
      expect(await store.write(({ sessions }) => sessions.endAll(T0 + 99, 'gateway restarted'))).toBe(2);
      expect(await store.write(({ sessions }) => sessions.endAll(T0 + 100, 'again'))).toBe(0);
      expect((await store.read.sessions.find(b!))?.last).toEqual({
        ...session(2),
        endedAt: T0 + 99,
        endReason: 'gateway restarted',
      });
      expect((await store.read.sessions.find(c!))?.last?.endReason).toBe('left');
    });

    it('gives a notice back as it was put in, and never two of one number for a device', async () => {
      const [a, b] = await addDevices(store, 'a', 'b');
      const notice = noticeOf(a!, 1, { kind: 'revoked', state: 'failed', sentAt: T0, ackedAt: T0 + 1, detail: 'no' });
      await store.write(({ notices }) => notices.insert(notice));
      expect(await store.read.notices.find(notice.id)).toEqual(notice);
      const clash = store.write(({ notices }) => notices.insert(noticeOf(a!, 1, { id: 'n-other' })));
      await expect(clash).rejects.toMatchObject({ code: 'CONFLICT' });
      await store.write(({ notices }) => notices.insert(noticeOf(b!, 1)));
    });

    it('lists what a device has not finished, in order, without the expired', async () => {
      const [a, b] = await addDevices(store, 'a', 'b');
      await store.write(async ({ notices }) => {
        await notices.insert(noticeOf(a!, 4, { state: 'received' }));
        await notices.insert(noticeOf(a!, 1, { state: 'outbox' }));
        await notices.insert(noticeOf(a!, 3, { state: 'sent' }));
        await notices.insert(noticeOf(a!, 2, { state: 'done' }));
        await notices.insert(noticeOf(a!, 5, { expiresAt: T0 + 10 }));
        await notices.insert(noticeOf(b!, 1));
      });
      const unfinished = async () => (await store.read.notices.listUnfinished(a!, T0 + 10)).map(({ seq }) => seq);
      expect(await unfinished()).toEqual([1, 3, 4]);
      expect(await store.read.notices.countUnfinished()).toBe(5);
      await store.write(({ notices }) => notices.update('n-a-3', { state: 'done', ackedAt: T0 + 5, detail: 'ok' }));
      expect(await unfinished()).toEqual([1, 4]);
      expect(await store.read.notices.find('n-a-3')).toMatchObject({ state: 'done', ackedAt: T0 + 5, detail: 'ok' });
      expect((await store.read.notices.listByDevice(a!, 3)).map(({ seq }) => seq)).toEqual([5, 4, 3]);
    });

    it('marks as expired only unfinished notices past their end', async () => {
      const [a] = await addDevices(store, 'a');
      await store.write(async ({ notices }) => {
        await notices.insert(noticeOf(a!, 1, { expiresAt: T0 + DAY }));
        await notices.insert(noticeOf(a!, 2, { expiresAt: T0 + DAY + 1 }));
        await notices.insert(noticeOf(a!, 3, { expiresAt: T0, state: 'done' }));
        await notices.insert(noticeOf(a!, 4, { expiresAt: T0, state: 'received' }));
      });
      expect(await store.write(({ notices }) => notices.expire(T0 + DAY))).toBe(2);
      const states = (await store.read.notices.listByDevice(a!, 9)).map(({ seq, state }) => `${seq} ${state}`);
      expect(states).toEqual(['4 expired', '3 done', '2 outbox', '1 expired']);
      expect(await store.read.notices.countUnfinished()).toBe(1);
    });

    it('drops finished notices that ended long ago, so many at a time, and no unfinished ones', async () => {
      const [a] = await addDevices(store, 'a');
      await store.write(async ({ notices }) => {
        for (const [n, state] of (['done', 'failed', 'expired', 'sent', 'done'] as const).entries())
          await notices.insert(noticeOf(a!, n + 1, { state, expiresAt: T0 + n }));
      });
      const prune = (limit: number) => store.write(({ notices }) => notices.prune(T0 + 4, limit));
      expect([await prune(2), await prune(2), await prune(2)]).toEqual([2, 1, 0]);
      expect((await store.read.notices.listByDevice(a!, 9)).map(({ seq }) => seq)).toEqual([5, 4]);
    });
  });
}

function session(n: number) {
  return { serial: serialOf(n), address: `10.0.0.${n}`, since: T0 + n };
}
