import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { supersedeOlder } from '#gateway/operations/activate-certificate.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { deliverPendingNotices } from '#gateway/operations/deliver-notices.ts';
import { holdDevice, releaseDevice } from '#gateway/operations/hold-device.ts';
import { type OrderRevocationDeps, orderRevocation } from '#gateway/operations/order-revocation.ts';
import { connectDevice, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';
import {
  acknowledgeAll,
  addMember,
  goOnline,
  type Member,
  readToken,
  renew,
  revoker,
  watchWaits,
} from '#test/fixtures/gateway/revocation-world.ts';

const press = parseDeviceId('press-07');
const order = { deviceId: press, why: 'seized at the border', actor: 'test', requestedAt: 0 };
let world: World;
let deps: OrderRevocationDeps;
let member: Member;
beforeEach(async () => {
  world = await openWorld();
  deps = revoker(world);
  member = await addMember(world, 'press-07');
});
afterEach(async () => {
  await deps.revocationJobs.stop();
  await world.close();
});

it('closes the session, tells the device why, and stands on record as certificateHold', async () => {
  acknowledgeAll(world);
  goOnline(world, member);
  const waits = watchWaits(world);
  const held = await holdDevice(deps, { ...order, requestedAt: performance.now() });
  expect(held).toMatchObject({ serials: [member.serial], sessionsClosed: 1 });
  expect(waits).toEqual(['begun', 'acknowledged']);
  expect(held.closedAfterMs).toBeGreaterThan(0);
  const [notice] = world.broker.sent.map(({ token }) => readToken(token));
  expect(notice).toMatchObject({ kind: 'revoked', body: { reason: 'certificateHold' } });
  expect(JSON.stringify(notice)).toContain('seized at the border');
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  expect(await world.store.read.revocations.find(member.serial)).toMatchObject({ reason: 'certificateHold' });
  expect((await world.store.read.devices.find(press))?.state).toBe('held');
});

it('gets neither a renewal nor a ticket while it is held', async () => {
  await holdDevice(deps, order);
  await expect(renew(world, member)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  await expect(addTicket(world, { deviceId: press, actor: 'test' })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
});

it('comes back with the same certificate after the release, also over a restart', async () => {
  await holdDevice(deps, order);
  await world.restart();
  expect(await releaseDevice(deps, order)).toEqual({ deviceId: press, serials: [member.serial] });
  expect(world.denySet.has(member.serial)).toBe(false);
  expect(await connectDevice(world, member.der)).toMatchObject({ deviceId: press, serial: member.serial });
  expect(await world.store.read.revocations.find(member.serial)).toBeUndefined();
  expect((await world.store.read.devices.find(press))?.state).toBe('enrolled');
  const changes = await world.store.read.statusChanges.listAfter(0, 10);
  expect(changes.map(({ change, reason }) => [change, reason])).toEqual([
    ['revoked', 'certificateHold'],
    ['released', 'certificateHold'],
  ]);
});

it('a certificate that was not used yet is pending again, and what was replaced is not made good', async () => {
  const young = await renew(world, member);
  await holdDevice(deps, order);
  await releaseDevice(deps, order);
  expect((await world.store.read.certificates.find(young.serial))?.state).toBe('pending');
  await connectDevice(world, young.der);
  await holdDevice(deps, order);
  world.clock.at += 2 * 3_600_000;
  await releaseDevice(deps, order);
  expect((await world.store.read.certificates.find(member.serial))?.state).toBe('superseded');
});

it('does not bring back what the device had switched from before, within its overlap', async () => {
  const young = await renew(world, member);
  await connectDevice(world, young.der);
  await supersedeOlder(world, young.serial);
  await holdDevice(deps, order);
  await releaseDevice(deps, order);
  expect(await connectDevice(world, young.der)).toMatchObject({ serial: young.serial });
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
});

it('one that was offline all the while never hears of the hold', async () => {
  await holdDevice(deps, order);
  await releaseDevice(deps, order);
  goOnline(world, member);
  expect(await deliverPendingNotices(deps, press)).toBe(0);
});

it('may be revoked for good, and is then not released', async () => {
  await holdDevice(deps, order);
  await orderRevocation(deps, { scope: 'device', target: 'press-07', reason: 'keyCompromise', actor: 'test' });
  expect(await world.store.read.revocations.find(member.serial)).toMatchObject({ reason: 'keyCompromise' });
  await expect(releaseDevice(deps, order)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
});

it.each([
  ['before', supersedeOlder],
  ['and is in its overlap', async () => undefined],
] as const)('ends for what was replaced %s, when the certificate in use is revoked for good', async (_, replace) => {
  world.clock.at += 1000;
  const young = await renew(world, member);
  await connectDevice(world, young.der);
  await replace(world, young.serial);
  await holdDevice(deps, order);
  await orderRevocation(deps, { scope: 'certificate', target: young.serial, reason: 'superseded', actor: 'test' });
  expect((await world.store.read.devices.find(press))?.state).toBe('revoked');
  expect((await world.store.read.certificates.find(member.serial))?.state).toBe('superseded');
  expect(await world.store.read.revocations.find(member.serial)).toBeUndefined();
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
});

it('is refused twice, for a device without a certificate, and for nobody', async () => {
  await holdDevice(deps, order);
  await expect(holdDevice(deps, order)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await register(world, 'press-08');
  const bare = { ...order, deviceId: parseDeviceId('press-08') };
  await expect(holdDevice(deps, bare)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  const nobody = { ...order, deviceId: parseDeviceId('nobody') };
  await expect(holdDevice(deps, nobody)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(releaseDevice(deps, nobody)).rejects.toMatchObject({ code: 'NOT_FOUND' });
});
