import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sequence } from '#ca/pkix/der.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AttestationChallenge } from '#gateway/domain/attestation/challenge.ts';
import type { Endorsement } from '#gateway/domain/attestation/endorsement.ts';
import type { TpmRoot } from '#gateway/domain/attestation/trusted-tpm.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { OpenStore } from './open-store.ts';
import { addDevices, enrollmentOf, hashOf, T0 } from './store-records.ts';

function endorsementOf(deviceId: DeviceId, change: Partial<Endorsement> = {}): Endorsement {
  return {
    deviceId,
    ekSha256: hashOf(`EK of ${deviceId}`),
    ekCertificate: Buffer.from('certificate'),
    ekChain: [sequence(Buffer.of(2, 1, 1)), sequence()],
    akName: '000b00',
    akPublic: Buffer.from('ak'),
    proofLevel: 'tpm-endorsed',
    firstSeen: T0,
    updatedAt: T0 + 1,
    ...change,
  };
}

function challengeOf(deviceId: DeviceId, n: number, change: Partial<AttestationChallenge> = {}): AttestationChallenge {
  const { ekSha256, ekChain } = endorsementOf(deviceId);
  return {
    id: `c-${deviceId}-${n}`,
    deviceId,
    askedBy: 'ticket:t-1',
    endorsement: { ekSha256, ekCertificate: null, ekChain },
    proofLevel: 'tpm',
    akName: '000b00',
    akPublic: Buffer.from('ak'),
    secret: Buffer.alloc(32, n),
    createdAt: T0 + n,
    expiresAt: T0 + n + 1000,
    usedAt: null,
    ...change,
  };
}

function rootOf(name: string, change: Partial<TpmRoot> = {}): TpmRoot {
  return {
    sha256: hashOf(name),
    subjectSha256: hashOf('one name'),
    kind: 'root',
    der: Buffer.from(name),
    note: null,
    addedAt: T0,
    ...change,
  };
}

function bySha(a: TpmRoot, b: TpmRoot): number {
  return a.sha256.localeCompare(b.sha256);
}

export function describeTpmTables(name: string, open: OpenStore): void {
  describe(`${name}: endorsements, challenges, trusted makers and keys`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(() => close());

    it('keeps the TPM of a device and finds it by its endorsement key', async () => {
      const [id, other] = await addDevices(store, 'press-7', 'press-8');
      const endorsement = endorsementOf(id!);
      await store.write(({ endorsements }) => endorsements.put(endorsement));
      expect(await store.read.endorsements.find(id!)).toEqual(endorsement);
      expect(await store.read.endorsements.findByEk(endorsement.ekSha256)).toEqual(endorsement);
      expect(await store.read.endorsements.find(other!)).toBeUndefined();
      const bare = endorsementOf(id!, { ekSha256: hashOf('new'), ekCertificate: null, ekChain: [], proofLevel: 'tpm' });
      await store.write(({ endorsements }) => endorsements.put(bare));
      expect(await store.read.endorsements.find(id!)).toEqual(bare);
      expect(await store.read.endorsements.findByEk(endorsement.ekSha256)).toBeUndefined();
      await store.write(({ endorsements }) => endorsements.remove(id!));
      expect(await store.read.endorsements.find(id!)).toBeUndefined();
    });

    it('refuses one endorsement key for two devices', async () => {
      const [id, other] = await addDevices(store, 'press-7', 'press-8');
      const endorsement = endorsementOf(id!);
      await store.write(({ endorsements }) => endorsements.put(endorsement));
      const second = store.write(({ endorsements }) => endorsements.put({ ...endorsement, deviceId: other! }));
      await expect(second).rejects.toMatchObject({ name: 'StoreError', code: 'CONFLICT' });
      expect(await store.read.endorsements.findByEk(endorsement.ekSha256)).toEqual(endorsement);
    });

    it('gives the challenges of a device back newest first', async () => {
      const [id, other] = await addDevices(store, 'press-7', 'press-8');
      const challenges = [1, 2, 3].map((n) => challengeOf(id!, n));
      await store.write(async (tables) => {
        for (const challenge of [...challenges, challengeOf(other!, 9)]) await tables.challenges.insert(challenge);
      });
      expect(await store.read.challenges.listByDevice(id!)).toEqual(challenges.toReversed());
      await store.write(({ challenges }) => challenges.remove('c-press-7-2'));
      expect((await store.read.challenges.listByDevice(id!)).map((challenge) => challenge.createdAt - T0)).toEqual([
        3, 1,
      ]);
      await store.write(({ challenges }) => challenges.removeByDevice(id!));
      expect(await store.read.challenges.listByDevice(id!)).toEqual([]);
      expect(await store.read.challenges.listByDevice(other!)).toHaveLength(1);
    });

    it('lets a challenge be used once', async () => {
      const [id] = await addDevices(store, 'press-7');
      await store.write(({ challenges }) => challenges.insert(challengeOf(id!, 1)));
      const use = () => store.write(({ challenges }) => challenges.use('c-press-7-1', T0 + 5));
      expect(await Promise.all([use(), use()])).toEqual([true, false]);
      expect((await store.read.challenges.listByDevice(id!))[0]).toMatchObject({ usedAt: T0 + 5 });
      expect(await store.write(({ challenges }) => challenges.use('c-none', T0))).toBe(false);
    });

    it('counts challenges as outstanding until they are used or have expired', async () => {
      const [id] = await addDevices(store, 'press-7');
      await store.write(async ({ challenges }) => {
        for (const n of [1, 2, 3]) await challenges.insert(challengeOf(id!, n));
      });
      const has = (count: number, now = T0) => store.read.challenges.hasOutstanding(count, now);
      expect([await has(3), await has(4)]).toEqual([true, false]);
      await store.write(({ challenges }) => challenges.use('c-press-7-3', T0 + 5));
      expect([await has(2), await has(3)]).toEqual([true, false]);
      expect([await has(1, T0 + 1001), await has(2, T0 + 1001)]).toEqual([true, false]);
      expect(await store.write(({ challenges }) => challenges.removeExpired(T0 + 1002))).toBe(2);
      expect((await store.read.challenges.listByDevice(id!)).map((challenge) => challenge.id)).toEqual(['c-press-7-3']);
    });

    it('keeps the allow list of endorsement keys; the same entry again is nothing new', async () => {
      const [id] = await addDevices(store, 'press-7');
      const entry = { ekSha256: hashOf('a'), note: 'delivery 7', deviceId: id!, addedAt: T0 };
      const put = (change: object = {}) => store.write(({ ekAllowList }) => ekAllowList.put({ ...entry, ...change }));
      expect([await put(), await put({ addedAt: T0 + 9 }), await put({ deviceId: null })]).toEqual([true, false, true]);
      expect(await store.read.ekAllowList.find(entry.ekSha256)).toEqual({ ...entry, deviceId: null });
      await put({ ekSha256: hashOf('b') });
      const sorted = [hashOf('a'), hashOf('b')].toSorted();
      const first = await store.read.ekAllowList.list({ limit: 1 });
      expect(first.map(({ ekSha256 }) => ekSha256)).toEqual(sorted.slice(0, 1));
      const rest = await store.read.ekAllowList.list({ limit: 9, after: sorted[0] });
      expect(rest.map(({ ekSha256 }) => ekSha256)).toEqual(sorted.slice(1));
      const remove = () => store.write(({ ekAllowList }) => ekAllowList.remove(entry.ekSha256));
      expect([await remove(), await remove()]).toEqual([true, false]);
    });

    it('finds pinned makers by their name, of which there may be several certificates', async () => {
      const roots = [rootOf('a'), rootOf('b', { kind: 'intermediate', note: 'by hand' })];
      const foreign = rootOf('c', { subjectSha256: hashOf('another name') });
      await store.write(async ({ tpmRoots }) => {
        for (const root of [...roots, foreign]) await tpmRoots.insert(root);
      });
      const again = store.write(({ tpmRoots }) => tpmRoots.insert(rootOf('a')));
      await expect(again).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await store.read.tpmRoots.listBySubject(hashOf('one name'))).toEqual(roots.toSorted(bySha));
      const all = [...roots, foreign].toSorted(bySha);
      expect(await store.read.tpmRoots.list({ limit: 2 })).toEqual(all.slice(0, 2));
      expect(await store.read.tpmRoots.list({ limit: 2, after: all[1]!.sha256 })).toEqual(all.slice(2));
      const remove = () => store.write(({ tpmRoots }) => tpmRoots.remove(foreign.sha256));
      expect([await remove(), await remove()]).toEqual([true, false]);
      expect(await store.read.tpmRoots.find(foreign.sha256)).toBeUndefined();
    });

    it('remembers by which evidence an enrollment was allowed', async () => {
      const [id] = await addDevices(store, 'press-7');
      const enrollment = enrollmentOf(id!, 1, { evidenceSha256: hashOf('evidence') });
      await store.write(({ enrollments }) => enrollments.insert(enrollment));
      expect(await store.read.enrollments.find(enrollment.id)).toEqual(enrollment);
    });
  });
}
