import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { approveEnrollment } from '#gateway/operations/decide-requests.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import { askWith, waiting } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, trust } from '#test/fixtures/gateway/makers.ts';
import {
  ARRIVAL,
  changePolicy,
  connectDevice,
  csrOf,
  HOUR,
  newKey,
  openWorld,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const pump = parseDeviceId('SN-0007');

async function renew(peer: Buffer): Promise<Buffer> {
  const csr = await csrOf(newKey(), { renews: peer });
  const order = { attemptId: nodeRandomness.id('a'), ...ARRIVAL, peer, csr };
  return (await reenrollDevice(world, order)).certificate;
}

async function recordOf(der: Buffer) {
  return (await world.store.read.certificates.listByDevice(pump)).find((certificate) => certificate.der.equals(der));
}

/** One is in use, and a person has approved another key, whose certificate was issued and not used yet. */
async function approvedBesideOneInUse() {
  const maker = createMaker(world);
  await trust(world, maker.root);
  await changePolicy(world, { approval: 'auto' });
  const { der: old } = await askWith(world, maker.device('SN-0007'));
  await connectDevice(world, old, 'SN-0007');
  const key = newKey();
  await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
  const [request] = await waiting(world);
  await approveEnrollment(world, { id: request?.id ?? '', actor: 'anna' });
  world.clock.at += 1000;
  const { der: newcomer } = await askWith(world, maker.device('SN-0007'), key);
  world.clock.at += 1000;
  return { old, newcomer };
}

/** The newcomer goes on alone when the overlap is over. */
async function expectToHaveTakenOver(newcomer: Buffer, displaced: Buffer): Promise<void> {
  expect(await recordOf(newcomer)).toMatchObject({ state: 'active', supersedeAt: null });
  await expect(renew(displaced)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
  world.clock.at += HOUR + 1;
  await sweep(world);
  await expect(connectDevice(world, displaced, 'SN-0007')).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
  await connectDevice(world, newcomer, 'SN-0007');
  await renew(newcomer);
}

describe('a key that a person approved in place of the one in use', () => {
  it('takes over although the old one has renewed, and used that, before the new one came', async () => {
    const { old, newcomer } = await approvedBesideOneInUse();
    const renewed = await renew(old);
    await connectDevice(world, renewed, 'SN-0007');
    world.clock.at += 1000;
    await connectDevice(world, newcomer, 'SN-0007');
    await expectToHaveTakenOver(newcomer, renewed);
  });

  it('is not displaced by a renewal that the old one asked for before and uses afterwards', async () => {
    const { old, newcomer } = await approvedBesideOneInUse();
    const renewed = await renew(old);
    world.clock.at += 1000;
    await connectDevice(world, newcomer, 'SN-0007');
    world.clock.at += 1000;
    await connectDevice(world, renewed, 'SN-0007');
    await expectToHaveTakenOver(newcomer, renewed);
  });
});
