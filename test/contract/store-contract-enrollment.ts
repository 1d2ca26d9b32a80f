import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { Attempt } from '#gateway/domain/attempt.ts';
import type { EnrollmentRequest } from '#gateway/domain/enrollment-request.ts';
import type { ManufacturerCa } from '#gateway/domain/manufacturer-ca.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import {
  addDevices,
  certificateOf,
  DAY,
  deviceNamed,
  enrollmentOf,
  groupNamed,
  hashOf,
  serialOf,
  T0,
} from './store-records.ts';

function requestOf(deviceId: DeviceId, n: number, change: Partial<EnrollmentRequest> = {}): EnrollmentRequest {
  return {
    id: `r-${n}`,
    deviceId,
    group: 'default',
    grounds: 'ticket:t-1',
    door: 'mqtt',
    address: '::1',
    keyKind: 'ec-p256',
    spkiSha256: hashOf(`key ${n}`),
    proofLevel: 'tpm',
    hardwareSerial: 'SN-1',
    reason: 'a person decides',
    state: 'waiting',
    askedAt: T0 + n,
    lastAskedAt: T0 + n,
    timesAsked: 1,
    expiresAt: T0 + DAY,
    decidedAt: null,
    decidedBy: null,
    note: null,
    ...change,
  };
}

function caOf(group: string, name: string, change: Partial<ManufacturerCa> = {}): ManufacturerCa {
  return {
    group,
    sha256: hashOf(name),
    subjectSha256: hashOf('one name'),
    der: Buffer.from(name),
    note: null,
    addedAt: T0,
    ...change,
  };
}

function attemptOf(n: number, change: Partial<Attempt> = {}): Attempt {
  return {
    id: `a-${n}`,
    at: T0 + n,
    kind: 'enroll',
    door: 'est',
    address: '::1',
    deviceId: 'press-7',
    outcome: 'refused',
    code: 'TICKET_SPENT',
    detail: 'spent',
    nextAction: 'ask',
    milliseconds: 12.5,
    steps: [{ step: 'credentials', outcome: 'refused', detail: 'spent', after: 1.5 }],
    ...change,
  };
}

/** What stands behind the ways to enroll. */
export function describeEnrollmentTables(name: string, open: OpenStore): void {
  describe(`${name}: requests, makers' CAs, registrars, attempts`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    const unknown = parseDeviceId('nobody-knows-it');

    it('keeps a request of a device that is not registered, and finds it by device and key while it is open', async () => {
      const request = requestOf(unknown, 1);
      await store.write((tables) => tables.enrollmentRequests.insert(request));
      const { enrollmentRequests } = store.read;
      expect(await enrollmentRequests.find('r-1')).toEqual(request);
      expect(await enrollmentRequests.findOpen(unknown, request.spkiSha256)).toEqual(request);
      expect(await enrollmentRequests.findOpen(unknown, hashOf('key 2'))).toBeUndefined();
      expect(await enrollmentRequests.listOpenByDevice(unknown)).toEqual([request]);
      const decided = { state: 'refused', decidedAt: T0 + 5, decidedBy: 'anna', note: 'no' } as const;
      await store.write((tables) => tables.enrollmentRequests.update('r-1', decided));
      expect(await enrollmentRequests.findOpen(unknown, request.spkiSha256)).toBeUndefined();
      expect(await enrollmentRequests.findNewest(unknown, request.spkiSha256)).toEqual({ ...request, ...decided });
    });

    it('holds one open request of a device and key, however many are over', async () => {
      const spkiSha256 = hashOf('the key');
      await store.write(async ({ enrollmentRequests }) => {
        await enrollmentRequests.insert(requestOf(unknown, 1, { spkiSha256, state: 'expired' }));
        await enrollmentRequests.insert(requestOf(unknown, 2, { spkiSha256, state: 'approved' }));
        await enrollmentRequests.insert(requestOf(unknown, 3, { spkiSha256, state: 'refused' }));
      });
      const second = store.write(({ enrollmentRequests }) =>
        enrollmentRequests.insert(requestOf(unknown, 4, { spkiSha256 })),
      );
      await expect(second).rejects.toMatchObject({ code: 'CONFLICT' });
      expect((await store.read.enrollmentRequests.findOpen(unknown, spkiSha256))?.id).toBe('r-2');
      expect((await store.read.enrollmentRequests.findNewest(unknown, spkiSha256))?.id).toBe('r-3');
    });

    it('lists requests newest first, by state and group, counts those that wait, and expires open ones', async () => {
      await store.write(async ({ enrollmentRequests }) => {
        await enrollmentRequests.insert(requestOf(unknown, 1));
        await enrollmentRequests.insert(requestOf(unknown, 2, { group: 'line-1', expiresAt: T0 + 2 * DAY }));
        await enrollmentRequests.insert(requestOf(unknown, 3, { state: 'approved' }));
        await enrollmentRequests.insert(requestOf(unknown, 4, { state: 'used' }));
      });
      const { enrollmentRequests } = store.read;
      const ids = async (query: Parameters<typeof enrollmentRequests.list>[0]) =>
        (await enrollmentRequests.list(query)).map(({ id }) => id);
      expect(await ids({ limit: 3 })).toEqual(['r-4', 'r-3', 'r-2']);
      expect(await ids({ limit: 3, after: 'r-2' })).toEqual(['r-1']);
      expect(await ids({ limit: 3, after: 'none' })).toEqual([]);
      expect(await ids({ limit: 3, state: 'waiting' })).toEqual(['r-2', 'r-1']);
      expect(await ids({ limit: 3, group: 'line-1' })).toEqual(['r-2']);
      expect([await enrollmentRequests.countWaiting(), await enrollmentRequests.countWaiting('line-1')]).toEqual([
        2, 1,
      ]);
      const over = await store.write((tables) => tables.enrollmentRequests.expire(T0 + DAY, 9));
      expect(over.map(({ id, state }) => `${id} ${state}`).toSorted()).toEqual(['r-1 waiting', 'r-3 approved']);
      expect(await ids({ limit: 9, state: 'expired' })).toEqual(['r-3', 'r-1']);
      expect(await store.write((tables) => tables.enrollmentRequests.prune(T0 + 4, 1))).toBe(1);
      expect(await store.write((tables) => tables.enrollmentRequests.prune(T0 + 4, 9))).toBe(1);
      expect(await ids({ limit: 9 })).toEqual(['r-4', 'r-2']);
    });

    it("trusts a maker's CA once for each group", async () => {
      await store.write(async ({ groups, manufacturerCas }) => {
        for (const group of ['line-1', 'line-2']) await groups.put(groupNamed(group), 'anna');
        expect(await manufacturerCas.put(caOf('line-1', 'a'))).toBe(true);
        expect(await manufacturerCas.put(caOf('line-1', 'a'))).toBe(false);
        expect(await manufacturerCas.put(caOf('line-1', 'a', { note: 'theirs' }))).toBe(true);
        expect(await manufacturerCas.put(caOf('line-2', 'a'))).toBe(true);
        expect(await manufacturerCas.put(caOf('line-2', 'b', { subjectSha256: hashOf('another') }))).toBe(true);
      });
      const { manufacturerCas } = store.read;
      expect(await manufacturerCas.listBySubject(hashOf('one name'))).toEqual([
        caOf('line-1', 'a', { note: 'theirs' }),
        caOf('line-2', 'a'),
      ]);
      expect(await manufacturerCas.list()).toHaveLength(3);
      expect(await manufacturerCas.list('line-1')).toHaveLength(1);
      const remove = (group: string) => store.write((tables) => tables.manufacturerCas.remove(group, hashOf('a')));
      expect([await remove('line-1'), await remove('line-1')]).toEqual([true, false]);
      expect(await manufacturerCas.listBySubject(hashOf('one name'))).toEqual([caOf('line-2', 'a')]);
      const orphan = store.write((tables) => tables.manufacturerCas.put(caOf('nowhere', 'a')));
      await expect(orphan).rejects.toThrow();
    });

    it('finds a registrar by name and by serial', async () => {
      const registrar = {
        name: 'assembly',
        groups: ['line-1', 'line-2'],
        serial: serialOf(7),
        notAfter: T0 + DAY,
        createdAt: T0,
        createdBy: 'anna',
      };
      await store.write(({ registrars }) => registrars.insert(registrar));
      const { registrars } = store.read;
      expect(await registrars.find('assembly')).toEqual(registrar);
      expect(await registrars.findBySerial(serialOf(7))).toEqual(registrar);
      expect(await registrars.findBySerial(serialOf(8))).toBeUndefined();
      const twin = store.write((tables) => tables.registrars.insert({ ...registrar, name: 'twin' }));
      await expect(twin).rejects.toMatchObject({ code: 'CONFLICT' });
      const remove = () => store.write((tables) => tables.registrars.remove('assembly'));
      expect([await remove(), await remove()]).toEqual([true, false]);
      expect(await registrars.list()).toEqual([]);
    });

    it('keeps attempts, the newer one of an id, and drops the oldest', async () => {
      await store.write(async ({ attempts }) => {
        for (const n of [1, 2, 3, 4, 5]) await attempts.put(attemptOf(n));
        await attempts.put(attemptOf(3, { outcome: 'issued', deviceId: null, code: null, steps: [] }));
      });
      const { attempts } = store.read;
      expect(await attempts.find('a-1')).toEqual(attemptOf(1));
      expect(await attempts.find('a-3')).toMatchObject({ outcome: 'issued', steps: [] });
      const ids = async (query: Parameters<typeof attempts.list>[0]) =>
        (await attempts.list(query)).map(({ id }) => id);
      expect(await ids({ limit: 2 })).toEqual(['a-5', 'a-4']);
      expect(await ids({ limit: 9, after: 'a-4' })).toEqual(['a-3', 'a-2', 'a-1']);
      expect(await ids({ limit: 9, deviceId: 'press-7' })).toEqual(['a-5', 'a-4', 'a-2', 'a-1']);
      expect(await ids({ limit: 9, outcome: 'issued' })).toEqual(['a-3']);
      const prune = (before: number, keep: number, limit = 9) =>
        store.write((tables) => tables.attempts.prune(before, keep, limit));
      expect(await prune(T0 + 2, 9)).toBe(1);
      expect(await ids({ limit: 9 })).toEqual(['a-5', 'a-4', 'a-3', 'a-2']);
      expect(await prune(T0, 1, 2)).toBe(2);
      expect(await prune(T0, 1)).toBe(1);
      expect(await ids({ limit: 9 })).toEqual(['a-5']);
    });

    it('finds devices by hardware serial and counts those that are enrolled or about to be', async () => {
      const [a, b, c, d] = await addDevices(store, 'a', 'b', 'c', 'd');
      await store.write(async ({ devices, certificates, enrollments }) => {
        await devices.insert(deviceNamed('e', { hardwareSerial: 'SN-1' }));
        await devices.update(b!, { hardwareSerial: 'SN-1' });
        await devices.update(a!, { state: 'enrolled' });
        await certificates.insert(certificateOf(a!, 1));
        await certificates.insert(certificateOf(b!, 2));
        await enrollments.insert(enrollmentOf(b!, 2));
        await enrollments.insert(enrollmentOf(c!, 3));
        await certificates.insert(certificateOf(d!, 4, { state: 'revoked' }));
      });
      const { devices } = store.read;
      expect((await devices.listByHardwareSerial('SN-1')).map(({ deviceId }) => deviceId)).toEqual(['b', 'e']);
      expect(await devices.listByHardwareSerial('SN-2')).toEqual([]);
      const alike = await devices.listByHardwareSerial('sn -1 ');
      expect(alike.map(({ deviceId }) => deviceId)).toEqual(['b', 'e']);
      expect((await devices.listByName(parseDeviceId('A'))).map(({ deviceId }) => deviceId)).toEqual(['a']);
      expect(await devices.listByName(parseDeviceId('aa'))).toEqual([]);
      expect(await devices.countEnrolled('default')).toBe(3);
      expect(await devices.countEnrolled('default', a)).toBe(2);
      expect(await devices.countEnrolled('default', c)).toBe(2);
      expect(await devices.countEnrolled('other')).toBe(0);
    });

    it('counts the devices of a group that enrolled first, and lists what of one device is under way', async () => {
      const [a, b, c] = await addDevices(store, 'a', 'b', 'c');
      await store.write(async ({ enrollments }) => {
        await enrollments.insert(enrollmentOf(a!, 1));
        await enrollments.insert(enrollmentOf(a!, 2, { state: 'issued' }));
        await enrollments.insert(enrollmentOf(b!, 3, { kind: 'reenroll' }));
        await enrollments.insert(enrollmentOf(b!, 4, { group: 'other', grounds: 'registrar:x', requestId: 'r-1' }));
        await enrollments.insert(enrollmentOf(b!, 5, { group: null }));
        await enrollments.insert(enrollmentOf(c!, 6));
      });
      const { enrollments } = store.read;
      expect(await enrollments.countFirstSince('default', T0)).toBe(2);
      expect(await enrollments.countFirstSince('default', T0 + 3)).toBe(1);
      expect(await enrollments.countFirstSince('default', T0, a)).toBe(1);
      expect((await enrollments.listUnfinishedByDevice(a!)).map(({ id }) => id)).toEqual(['a-1']);
      expect(await enrollments.find('a-4')).toMatchObject({ grounds: 'registrar:x', requestId: 'r-1' });
    });

    it("lists a device's own certificates apart from its claims", async () => {
      const [a] = await addDevices(store, 'a');
      await store.write(async ({ certificates }) => {
        await certificates.insert(certificateOf(a!, 1));
        await certificates.insert(certificateOf(a!, 2, { profile: 'device-bootstrap', state: 'active' }));
      });
      expect((await store.read.certificates.listByDevice(a!)).map(({ serial }) => serial)).toEqual([serialOf(1)]);
      expect(await store.read.certificates.list({ limit: 9, deviceId: a! })).toHaveLength(2);
    });
  });
}
