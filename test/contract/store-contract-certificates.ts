import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { CrlRecord } from '#gateway/domain/revocation-record.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import { addDevices, certificateOf, DAY, revocationOf, serialOf, T0 } from './store-records.ts';

export function describeCertificateTables(name: string, open: OpenStore): void {
  describe(`${name}: certificates, revocations, CRLs`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    const insert = (...records: CertificateRecord[]) =>
      store.write(async ({ certificates }) => {
        for (const record of records) await certificates.insert(record);
      });
    const due = async (now: number, limit = 99) =>
      (await store.read.certificates.listDue(now, limit)).map(({ serial }) => Number.parseInt(serial, 16));

    it('gives a certificate back as it was put in, byte for byte', async () => {
      const [id] = await addDevices(store, 'press-7');
      const der = Buffer.from(Array.from({ length: 1500 }, (_, i) => i % 256));
      const record = certificateOf(id!, 1, { der, revocationReason: 'keyCompromise', revokedAt: T0 + 9 });
      await insert(record);
      expect(await store.read.certificates.find(serialOf(1))).toEqual(record);
      expect(await store.read.certificates.find('no serial at all')).toBeUndefined();
      await expect(insert(certificateOf(null, 1))).rejects.toMatchObject({ code: 'CONFLICT' });
    });

    it('keeps certificates of no device', async () => {
      const own = certificateOf(null, 1, { profile: 'gateway-server', proofLevel: null, enrollmentId: null });
      await insert(own);
      expect(await store.read.certificates.find(own.serial)).toEqual(own);
    });

    it('lists and counts the active ones by when their window begins, also of one group', async () => {
      const [a, b] = await addDevices(store, 'a', 'b');
      await store.write(async (tables) => {
        const group = await tables.groups.find('default');
        if (group !== undefined) await tables.groups.put({ ...group, name: 'line-3', version: 1 }, 'test');
        await tables.devices.update(b!, { group: 'line-3' });
      });
      const active = (n: number, minutes: number, device = a!) =>
        certificateOf(device, n, { state: 'active', renewFrom: T0 + minutes * 60_000, renewUntil: T0 + DAY });
      await insert(
        active(1, 0),
        active(2, 0, b),
        active(3, 0.5),
        active(4, 2),
        active(5, 90),
        certificateOf(a!, 6, { state: 'active' }),
        certificateOf(a!, 7, { state: 'superseded', renewFrom: T0, renewUntil: T0 + DAY }),
      );
      const { certificates } = store.read;
      expect(numbers(await certificates.listByRenewal(T0, T0 + 60_000, 9))).toEqual([1, 2, 3]);
      expect(numbers(await certificates.listByRenewal(T0, T0 + DAY, 2, serialOf(1)))).toEqual([2, 3]);
      expect(numbers(await certificates.listByRenewal(T0 + 1, T0 + DAY, 9))).toEqual([3, 4, 5]);
      const minute = T0 / 60_000;
      expect(Number.isInteger(minute)).toBe(true);
      const perMinute = await certificates.countRenewalsByMinute(minute, minute + 90);
      expect([...perMinute].toSorted(([left], [right]) => left - right)).toEqual([
        [minute, 3],
        [minute + 2, 1],
      ]);
      expect(await certificates.countRenewalsByMinute(minute + 1, minute + 91)).toEqual(
        new Map([
          [minute + 2, 1],
          [minute + 90, 1],
        ]),
      );
      expect(await certificates.countRenewals(T0, T0 + DAY)).toBe(5);
      expect(await certificates.countRenewals(T0 + 1, T0 + 90 * 60_000)).toBe(2);
      expect(await certificates.countRenewals(T0, T0 + DAY, 'line-3')).toBe(1);
      expect(await certificates.countRenewals(T0, T0 + DAY, 'no such group')).toBe(0);
    });

    it('lists certificates newest first, by device and by state, page after page', async () => {
      const [a, b] = await addDevices(store, 'a', 'b');
      await insert(
        ...[3, 1, 5, 2, 4].map((n) =>
          certificateOf(n % 2 === 1 ? a! : b!, n, {
            issuedAt: T0 + Math.ceil(n / 2),
            state: n > 3 ? 'active' : 'pending',
          }),
        ),
      );
      const { certificates } = store.read;
      const first = await certificates.list({ limit: 2 });
      const second = await certificates.list({ limit: 2, after: first[1]!.serial });
      const third = await certificates.list({ limit: 2, after: second[1]!.serial });
      expect(numbers([...first, ...second, ...third])).toEqual([5, 4, 3, 2, 1]);
      expect(numbers(await certificates.listByDevice(a!))).toEqual([5, 3, 1]);
      expect(numbers(await certificates.listIssuedSince(a!, T0 + 2))).toEqual([5, 3]);
      await store.write((tables) => tables.certificates.update(serialOf(3), { state: 'superseded' }));
      expect(numbers(await certificates.listStanding(a!))).toEqual([5, 1]);
      await store.write((tables) => tables.certificates.update(serialOf(3), { state: 'pending' }));
      expect(numbers(await certificates.list({ limit: 9, state: 'active' }))).toEqual([5, 4]);
      expect(numbers(await certificates.list({ limit: 9, deviceId: a!, state: 'pending' }))).toEqual([3, 1]);
      expect(numbers(await certificates.list({ limit: 9, deviceId: b!, after: serialOf(4) }))).toEqual([2]);
      expect(await certificates.list({ limit: 9, after: serialOf(77) })).toEqual([]);
    });

    it('lists as due first what is due first: lapse, end of overlap, expiry', async () => {
      await insert(
        certificateOf(null, 1, { state: 'pending', lapseAt: T0 + 300, notAfter: T0 + 900 }),
        certificateOf(null, 2, { state: 'active', supersedeAt: T0 + 200, notAfter: T0 + 900 }),
        certificateOf(null, 3, { state: 'active', notAfter: T0 + 100 }),
        certificateOf(null, 4, { state: 'superseded', notAfter: T0 + 400 }),
        certificateOf(null, 5, { state: 'revoked', notAfter: T0 + 1 }),
        certificateOf(null, 6, { state: 'expired', notAfter: T0 + 1 }),
      );
      expect(await due(T0 + 300)).toEqual([3, 2, 1]);
      expect(await due(T0 + 999)).toEqual([3, 2, 1, 4]);
      expect(await due(T0 + 999, 2)).toEqual([3, 2]);
      expect(await due(T0 + 99)).toEqual([]);
    });

    it('moves the due time with every change of a certificate', async () => {
      await insert(certificateOf(null, 1, { state: 'pending', lapseAt: T0 + 300, notAfter: T0 + 900 }));
      const update = (change: Parameters<Store['read']['certificates']['update']>[1]) =>
        store.write(({ certificates }) => certificates.update(serialOf(1), change));
      await update({ state: 'active', activatedAt: T0 + 50 });
      expect(await due(T0 + 899)).toEqual([]);
      await update({ supersedeAt: T0 + 400 });
      expect(await due(T0 + 400)).toEqual([1]);
      await update({ state: 'superseded' });
      expect(await due(T0 + 899)).toEqual([]);
      expect(await due(T0 + 900)).toEqual([1]);
      await update({ state: 'revoked', revokedAt: T0 + 500, revocationReason: 'cessationOfOperation' });
      expect(await due(T0 + 999_999)).toEqual([]);
      expect(await store.read.certificates.find(serialOf(1))).toMatchObject({
        activatedAt: T0 + 50,
        supersedeAt: T0 + 400,
        revokedAt: T0 + 500,
        revocationReason: 'cessationOfOperation',
      });
    });

    it('does nothing when a certificate to be changed is not there', async () => {
      await store.write(({ certificates }) => certificates.update(serialOf(1), { state: 'revoked' }));
      expect(await store.read.certificates.find(serialOf(1))).toBeUndefined();
    });

    it('keeps the first record of a revocation and says whether it was new', async () => {
      const first = revocationOf(1, { reason: 'keyCompromise' });
      const news = await store.write(async ({ revocations }) => [
        await revocations.insert(first),
        await revocations.insert(revocationOf(1, { reason: 'superseded', revokedAt: T0 + 99 })),
        await revocations.insert(revocationOf(2)),
      ]);
      expect(news).toEqual([true, false, true]);
      expect(await store.read.revocations.find(serialOf(1))).toEqual(first);
      expect(await store.read.revocations.find(serialOf(3))).toBeUndefined();
      await store.write(({ revocations }) => revocations.setClosedAfter([serialOf(1), serialOf(3)], 12));
      expect(await store.read.revocations.find(serialOf(1))).toEqual({ ...first, closedAfterMs: 12 });
      expect((await store.read.revocations.find(serialOf(2)))?.closedAfterMs).toBeNull();
    });

    it('pages for the CRL through every unexpired revocation once, soonest to expire first', async () => {
      await store.write(async ({ revocations }) => {
        // Three to a notAfter, so that pages end in the middle of equal ones.
        for (let n = 0; n < 30; n++)
          await revocations.insert(revocationOf(29 - n, { notAfter: T0 + Math.floor(n / 3) * DAY }));
      });
      const { revocations } = store.read;
      const listed: { serial: string; notAfter: number }[] = [];
      let after: string | undefined;
      for (;;) {
        const page = await revocations.listForCrl(T0 + 2 * DAY, { after, limit: 5 });
        listed.push(...page);
        expect(page.length).toBeLessThanOrEqual(5);
        after = page.at(-1)?.serial;
        if (after === undefined) break;
      }
      expect(new Set(listed.map(({ serial }) => serial)).size).toBe(24);
      expect(listed).toHaveLength(24);
      expect(listed.every(({ notAfter }, i) => notAfter >= (listed[i - 1]?.notAfter ?? T0 + 2 * DAY))).toBe(true);
    });

    it('lists the newest revocations first and the serials of unexpired ones', async () => {
      await store.write(async ({ revocations }) => {
        for (const n of [2, 1, 3]) await revocations.insert(revocationOf(n, { notAfter: T0 + n * DAY }));
      });
      expect((await store.read.revocations.listNewest(2)).map(({ serial }) => serial)).toEqual([
        serialOf(3),
        serialOf(2),
      ]);
      expect((await store.read.revocations.listUnexpiredSerials(T0 + 2 * DAY)).toSorted()).toEqual([
        serialOf(2),
        serialOf(3),
      ]);
    });

    it('knows the CRL with the highest number and drops all but the newest', async () => {
      expect(await store.read.crls.latest()).toBeUndefined();
      await store.write(async ({ crls }) => {
        for (const n of [2, 10, 9, 1]) await crls.insert(crl(n));
      });
      expect(await store.read.crls.latest()).toEqual(crl(10));
      await expect(store.write(({ crls }) => crls.insert(crl(9)))).rejects.toMatchObject({ code: 'CONFLICT' });
      await store.write(({ crls }) => crls.prune(2));
      // What was dropped may come again; what was kept may not.
      await store.write(({ crls }) => crls.insert(crl(2)));
      await expect(store.write(({ crls }) => crls.insert(crl(9)))).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await store.read.crls.latest()).toEqual(crl(10));
    });
  });
}

function numbers(records: CertificateRecord[]): number[] {
  return records.map(({ serial }) => Number.parseInt(serial, 16));
}

function crl(number: number): CrlRecord {
  const der = Buffer.from([number]);
  return { number, thisUpdate: T0 + number, nextUpdate: T0 + number + DAY, entries: number, der };
}
