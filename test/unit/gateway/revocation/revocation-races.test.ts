import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { RevocationScope } from '#gateway/contract/operator-api.ts';
import { holdDevice } from '#gateway/operations/hold-device.ts';
import { type OrderRevocationDeps, orderRevocation, planRevocation } from '#gateway/operations/order-revocation.ts';
import { quarantineDevice } from '#gateway/operations/quarantine-device.ts';
import { listRevocationItems } from '#gateway/operations/show-revocations.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import {
  changePolicy,
  connectDevice,
  DAY,
  enroll,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';
import { addMember, type Member, renew, revoker } from '#test/fixtures/gateway/revocation-world.ts';

let world: World;
let deps: OrderRevocationDeps;
beforeEach(async () => {
  world = await openWorld();
  deps = revoker(world);
});
afterEach(async () => {
  await deps.revocationJobs.stop();
  await world.close();
});

const actor = 'test';
const press = parseDeviceId('press-07');

const revoke = (scope: RevocationScope, target: string, reason: 'superseded' | 'keyCompromise' = 'superseded') =>
  orderRevocation(deps, { scope, target, reason, actor });

/** What the device still has that could let it in. */
async function standing(deviceId = press) {
  const all = await world.store.read.certificates.listByDevice(deviceId);
  const now = world.clock.now();
  const good = all.filter(({ state, notAfter }) => (state === 'pending' || state === 'active') && notAfter > now);
  return good.map(({ serial }) => serial);
}

async function rowOf({ serial }: Pick<Member, 'serial'>) {
  const row = await world.store.read.certificates.find(serial);
  if (row === undefined) throw new Error(`no certificate ${serial}`);
  return row;
}

async function targetOf(scope: RevocationScope, member: Member): Promise<string> {
  const { spkiSha256, issuerKeyId, serial } = await rowOf(member);
  const targets = { device: press, group: 'default', certificate: serial, lineage: serial };
  return { ...targets, key: spkiSha256, issuer: issuerKeyId }[scope];
}

const SCOPES = ['device', 'group', 'certificate', 'key', 'lineage', 'issuer'] as const;

/** Once: between the signature of the next certificate and its record. */
function meanwhile(work: () => Promise<unknown>): void {
  world.authority.beforeAnswer = async () => {
    world.authority.beforeAnswer = async () => undefined;
    await work();
  };
}

describe('a revocation while the device renews', () => {
  it.each(SCOPES)('of its %s takes what is being made', async (scope) => {
    const member = await addMember(world, press);
    const target = await targetOf(scope, member);
    meanwhile(() => revoke(scope, target));
    await expect(renew(world, member)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    expect(await standing()).toEqual([]);
  });

  it.each(SCOPES)('of its %s takes what was made and not used yet', async (scope) => {
    const member = await addMember(world, press);
    const next = await renew(world, member);
    await revoke(scope, await targetOf(scope, member));
    expect(await standing()).toEqual([]);
    await expect(connectDevice(world, next.der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  });

  it.each(['certificate', 'key'] as const)('says so of its %s beforehand and afterwards', async (scope) => {
    const member = await addMember(world, press);
    const next = await renew(world, member);
    const target = await targetOf(scope, member);
    expect(await planRevocation(deps, { scope, target })).toMatchObject({ certificates: 2, devices: 1 });
    const job = await revoke(scope, target);
    expect(job.items).toMatchObject({ revoked: 2, unchanged: 0, waiting: 0 });
    const { items } = await listRevocationItems(deps, { id: job.id, limit: 10 });
    expect(items.map(({ serial }) => serial).toSorted()).toEqual([member.serial, next.serial].toSorted());
  });

  it('leaves the successor that is in use, unless it is meant', async () => {
    const member = await addMember(world, press);
    const next = await renew(world, member);
    await connectDevice(world, next.der);
    const after = await renew(world, next);
    await revoke('certificate', member.serial);
    expect((await standing()).toSorted()).toEqual([next.serial, after.serial].toSorted());
  });

  it('takes the one that somebody else renewed with the same certificate and has kept', async () => {
    const member = await addMember(world, press);
    const kept = await renew(world, member);
    const next = await renew(world, member);
    await connectDevice(world, next.der);
    await revoke('certificate', next.serial);
    await expect(connectDevice(world, kept.der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  });

  it('by a hold takes what is being made, and a release does not bring it back', async () => {
    const member = await addMember(world, press);
    meanwhile(() => holdDevice(world, { deviceId: press, why: 'lost', actor, requestedAt: 0 }));
    await expect(renew(world, member)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    expect(await standing()).toEqual([]);
  });
});

describe('a key that was revoked as compromised', () => {
  it('is certified by no renewal either', async () => {
    const key = newKey();
    const bad = await addMember(world, press, key);
    await revoke('key', (await rowOf(bad)).spkiSha256, 'keyCompromise');
    const other = await addMember(world, 'press-08');
    await expect(renew(world, other, key)).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
  });

  it('is not certified when that was under way for another device', async () => {
    const key = newKey();
    const bad = await addMember(world, press, key);
    const { spkiSha256 } = await rowOf(bad);
    const ticket = await register(world, 'press-08');
    meanwhile(() => revoke('key', spkiSha256, 'keyCompromise'));
    await expect(enroll(world, 'press-08', ticket, key)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    expect(await standing(parseDeviceId('press-08'))).toEqual([]);
  });

  it('takes the unused certificate of the same key and device with it', async () => {
    const key = newKey();
    const member = await addMember(world, press, key);
    await renew(world, member, key);
    await revoke('certificate', member.serial, 'keyCompromise');
    expect(await standing()).toEqual([]);
  });
});

describe('what has expired and could still come by the lane', () => {
  beforeEach(() => changePolicy(world, { graceSeconds: 30 * 86_400, graceDecision: 'auto' }));

  it.each(SCOPES)('is shut out by a revocation of its %s', async (scope) => {
    const member = await addMember(world, press);
    world.clock.at += 8 * DAY;
    await sweep(world);
    await revoke(scope, await targetOf(scope, member));
    await expect(renew(world, member)).rejects.toMatchObject({
      code: expect.stringMatching(/^(CERTIFICATE_REVOKED|DEVICE_NOT_ALLOWED)$/),
    });
    expect(await standing()).toEqual([]);
  });

  it.each(SCOPES)('gets nothing when its %s is revoked while it asks', async (scope) => {
    const member = await addMember(world, press);
    world.clock.at += 8 * DAY;
    const target = await targetOf(scope, member);
    meanwhile(() => revoke(scope, target));
    await expect(renew(world, member)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    expect(await standing()).toEqual([]);
  });

  it('is revoked with its group when it expires while the job is at others', async () => {
    const members = [await addMember(world, press), await addMember(world, 'press-08')];
    const ordering = orderRevocation(deps, { scope: 'group', target: 'default', reason: 'superseded', rate: 2, actor });
    await until(async () => (await world.store.read.revocations.listNewest(10)).length === 1);
    world.clock.at += 8 * DAY;
    expect(await ordering).toMatchObject({ state: 'finished', items: { revoked: 1, unchanged: 1, waiting: 0 } });
    for (const member of members) {
      expect((await world.store.read.devices.find(parseDeviceId(member.deviceId)))?.state).toBe('revoked');
      await expect(renew(world, member)).rejects.toMatchObject({
        code: expect.stringMatching(/^(CERTIFICATE_REVOKED|DEVICE_NOT_ALLOWED)$/),
      });
    }
  });
});

it('an issuer’s certificates are meant also when the clock was ahead while they were made', async () => {
  const member = await addMember(world, press);
  world.clock.at -= DAY / 24;
  await revoke('issuer', await targetOf('issuer', member));
  expect(await standing()).toEqual([]);
});

it('a device in quarantine whose last certificate is revoked counts as revoked: a new ticket may bring it back', async () => {
  const member = await addMember(world, press);
  await quarantineDevice(world, { deviceId: press, reason: 'test', actor });
  await revoke('certificate', member.serial);
  expect((await world.store.read.devices.find(press))?.state).toBe('revoked');
});

/** The store has no events to wait for. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const giveUp = performance.now() + 60_000;
  while (!(await isSo())) {
    if (performance.now() > giveUp) throw new Error('it never came to be');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
