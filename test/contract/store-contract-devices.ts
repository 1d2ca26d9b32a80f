import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { DEFAULT_POLICY } from '#gateway/domain/group.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import {
  addDevices,
  DAY,
  deviceNamed,
  enrollmentOf,
  groupNamed,
  hashOf,
  serialOf,
  T0,
  ticketOf,
} from './store-records.ts';

export function describeDeviceTables(name: string, open: OpenStore): void {
  describe(`${name}: devices, groups, tickets, enrollments`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    it('gives a device back as it was put in', async () => {
      await addDevices(store);
      const device = deviceNamed('press-7', {
        state: 'quarantined',
        proofLevel: 'tpm-endorsed',
        hardwareSerial: 'SN-0042',
        owner: 'hall 3',
        noticeSeq: 9,
      });
      await store.write(({ devices }) => devices.insert(device));
      expect(await store.read.devices.find(device.deviceId)).toEqual(device);
      expect(await store.read.devices.find(parseDeviceId('press-8'))).toBeUndefined();
    });

    it('lists the ids in a state by themselves, page by page', async () => {
      await addDevices(store, 'a', 'b', 'c', 'd');
      await store.write(async ({ devices }) => {
        for (const id of ['a', 'c', 'd']) await devices.update(parseDeviceId(id), { state: 'quarantined' });
      });
      const ids = (after?: string) => store.read.devices.listIds({ state: 'quarantined', limit: 2, after });
      expect([await ids(), await ids('c'), await ids('d')]).toEqual([['a', 'c'], ['d'], []]);
    });

    it('refuses a second device of the same id and leaves the first as it was', async () => {
      const [id] = await addDevices(store, 'press-7');
      const again = store.write(({ devices }) => devices.insert(deviceNamed('press-7', { owner: 'somebody else' })));
      await expect(again).rejects.toMatchObject({ name: 'StoreError', code: 'CONFLICT' });
      expect((await store.read.devices.find(id!))?.owner).toBeNull();
    });

    it('takes device ids that are names of JavaScript built-ins', async () => {
      await addDevices(store, 'constructor', 'toString');
      expect((await store.read.devices.find(parseDeviceId('constructor')))?.deviceId).toBe('constructor');
    });

    it('changes only the named fields of a device, also back to null', async () => {
      const [id, other] = await addDevices(store, 'press-7', 'press-8');
      await store.write(({ devices }) => devices.update(id!, { owner: 'hall 3', state: 'enrolled' }));
      await store.write(({ devices }) => devices.update(id!, { owner: null }));
      await store.write(({ devices }) => devices.update(id!, {}));
      expect(await store.read.devices.find(id!)).toEqual(deviceNamed('press-7', { state: 'enrolled' }));
      expect(await store.read.devices.find(other!)).toEqual(deviceNamed('press-8'));
    });

    it('counts the notices of each device up by one', async () => {
      const [a, b] = await addDevices(store, 'a', 'b');
      const taken = await store.write(async ({ devices }) => [
        await devices.takeNoticeSeq(a!, 0),
        await devices.takeNoticeSeq(a!, 0),
        await devices.takeNoticeSeq(b!, 0),
      ]);
      expect(taken).toEqual([1, 2, 1]);
      await expect(store.write(({ devices }) => devices.takeNoticeSeq(parseDeviceId('nobody'), 0))).rejects.toThrow(
        /nobody/,
      );
    });

    it('numbers notices from a floor on, and never back when the floor falls', async () => {
      const [a] = await addDevices(store, 'a');
      const floor = 1_800_000_000_000;
      const taken = await store.write(async ({ devices }) => [
        await devices.takeNoticeSeq(a!, floor),
        await devices.takeNoticeSeq(a!, floor),
        await devices.takeNoticeSeq(a!, floor - 1000),
        await devices.takeNoticeSeq(a!, floor + 1000),
      ]);
      expect(taken).toEqual([floor, floor + 1, floor + 2, floor + 1000]);
      expect((await store.read.devices.find(a!))?.noticeSeq).toBe(floor + 1000);
    });

    it('pages devices by id, of one group and one state', async () => {
      await store.write(async ({ groups, devices }) => {
        await groups.put(groupNamed('default'), 'anna');
        await groups.put(groupNamed('hall'), 'anna');
        for (const n of ['05', '01', '04', '02', '03']) await devices.insert(deviceNamed(`d-${n}`));
        await devices.insert(deviceNamed('d-00', { group: 'hall' }));
        await devices.insert(deviceNamed('d-06', { group: 'hall', state: 'retired' }));
      });
      const { devices } = store.read;
      const ids = async (page: Parameters<typeof devices.list>[0]) => (await devices.list(page)).map((d) => d.deviceId);
      expect(await ids({ limit: 3 })).toEqual(['d-00', 'd-01', 'd-02']);
      expect(await ids({ limit: 3, after: 'd-02' })).toEqual(['d-03', 'd-04', 'd-05']);
      expect(await ids({ limit: 9, after: 'd-05' })).toEqual(['d-06']);
      expect(await ids({ limit: 2, group: 'default', after: 'd-01' })).toEqual(['d-02', 'd-03']);
      expect(await ids({ limit: 9, state: 'retired' })).toEqual(['d-06']);
      expect(await ids({ limit: 9, group: 'hall', state: 'registered' })).toEqual(['d-00']);
      expect(await devices.countByGroup()).toEqual(
        new Map([
          ['default', 5],
          ['hall', 2],
        ]),
      );
    });

    it('has the highest version of a group in force and refuses the same version twice', async () => {
      const policy = { ...DEFAULT_POLICY, lifetimeSeconds: 60, readFrom: ['default'], owner: 'hall 3' };
      await store.write(async ({ groups }) => {
        await groups.put(groupNamed('hall'), 'anna');
        await groups.put(groupNamed('default'), 'anna');
        await groups.put(groupNamed('hall', { version: 2, policy, updatedAt: T0 + 1 }), 'ben');
      });
      const second = { name: 'hall', version: 2, policy, updatedAt: T0 + 1 };
      expect(await store.read.groups.find('hall')).toEqual(second);
      expect(await store.read.groups.list()).toEqual([groupNamed('default'), second]);
      const again = store.write(({ groups }) => groups.put(groupNamed('hall', { version: 2 }), 'cleo'));
      await expect(again).rejects.toMatchObject({ code: 'CONFLICT' });
      const older = store.write(({ groups }) => groups.put(groupNamed('hall', { version: 1 }), 'cleo'));
      await expect(older).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await store.read.groups.find('hall')).toEqual(second);
      expect(await store.read.groups.find('nowhere')).toBeUndefined();
    });

    it('finds a ticket by id and by the hash of its secret, and no two share a secret', async () => {
      const [id] = await addDevices(store, 'press-7');
      const ticket = ticketOf(id!, 't-1');
      await store.write(({ tickets }) => tickets.insert(ticket));
      expect(await store.read.tickets.find('t-1')).toEqual(ticket);
      expect(await store.read.tickets.findBySecret(ticket.secretSha256)).toEqual(ticket);
      expect(await store.read.tickets.findBySecret(hashOf('guessed'))).toBeUndefined();
      for (const clash of [ticketOf(id!, 't-1', { secretSha256: hashOf('x') }), { ...ticket, id: 't-2' }]) {
        await expect(store.write(({ tickets }) => tickets.insert(clash))).rejects.toMatchObject({ code: 'CONFLICT' });
      }
    });

    it('binds, spends and unbinds a ticket', async () => {
      const [id] = await addDevices(store, 'press-7');
      const ticket = ticketOf(id!, 't-1');
      await store.write(async ({ tickets }) => {
        await tickets.insert(ticket);
        await tickets.update('t-1', { boundSpkiSha256: hashOf('key'), boundSerial: serialOf(5) });
        await tickets.update('t-1', { spentAt: T0 + 5 });
      });
      const bound = { ...ticket, boundSpkiSha256: hashOf('key'), boundSerial: serialOf(5), spentAt: T0 + 5 };
      expect(await store.read.tickets.find('t-1')).toEqual(bound);
      await store.write(({ tickets }) =>
        tickets.update('t-1', { boundSpkiSha256: null, boundSerial: null, spentAt: null }),
      );
      expect(await store.read.tickets.find('t-1')).toEqual(ticket);
    });

    it('lists tickets newest first, also when several were made in the same millisecond', async () => {
      const [a, b] = await addDevices(store, 'a', 'b');
      await store.write(async ({ tickets }) => {
        for (const [i, id] of ['t-3', 't-9', 't-1', 't-5'].entries()) {
          await tickets.insert(ticketOf(i % 2 === 0 ? a! : b!, id, { createdAt: T0 + (i === 3 ? DAY : 0) }));
        }
      });
      const { tickets } = store.read;
      const first = await tickets.list({ limit: 2 });
      const rest = await tickets.list({ limit: 9, after: first[1]!.id });
      expect([...first, ...rest].map(({ id }) => id)).toEqual(['t-5', 't-9', 't-3', 't-1']);
      expect((await tickets.listByDevice(a!)).map(({ id }) => id)).toEqual(['t-3', 't-1']);
      expect(await tickets.list({ limit: 9, after: 'never-made' })).toEqual([]);
    });

    it('lists the enrollments of one key newest first, at most ten', async () => {
      const [a, b] = await addDevices(store, 'a', 'b');
      await store.write(async ({ enrollments }) => {
        for (let n = 0; n < 12; n++) await enrollments.insert(enrollmentOf(a!, n));
        await enrollments.insert(enrollmentOf(a!, 20, { spkiSha256: hashOf('another key') }));
        await enrollments.insert(enrollmentOf(b!, 21));
      });
      const listed = await store.read.enrollments.listByKey(a!, hashOf('key of a'));
      expect(listed.map(({ id }) => id)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2].map((n) => `a-${n}`));
      expect(await store.read.enrollments.find('a-20')).toEqual(
        enrollmentOf(a!, 20, { spkiSha256: hashOf('another key') }),
      );
    });

    it('lists as unfinished only the enrollments without an outcome, oldest first', async () => {
      const [a] = await addDevices(store, 'a');
      await store.write(async ({ enrollments }) => {
        for (const n of [4, 2, 3, 1]) await enrollments.insert(enrollmentOf(a!, n));
        await enrollments.update('a-3', { state: 'issued', updatedAt: T0 + 99 });
        await enrollments.update('a-4', { state: 'abandoned' });
      });
      expect((await store.read.enrollments.listUnfinished(9)).map(({ id }) => id)).toEqual(['a-1', 'a-2']);
      expect((await store.read.enrollments.listUnfinished(1)).map(({ id }) => id)).toEqual(['a-1']);
      expect(await store.read.enrollments.find('a-3')).toMatchObject({ state: 'issued', updatedAt: T0 + 99 });
    });

    it('reserves a serial for one enrollment only', async () => {
      const [a] = await addDevices(store, 'a');
      await store.write(({ enrollments }) => enrollments.insert(enrollmentOf(a!, 1)));
      const clash = store.write(({ enrollments }) =>
        enrollments.insert({ ...enrollmentOf(a!, 2), serial: serialOf(1) }),
      );
      await expect(clash).rejects.toMatchObject({ code: 'CONFLICT' });
    });
  });
}
