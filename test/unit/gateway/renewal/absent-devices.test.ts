import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { RenewalCampaignDetail } from '#gateway/contract/renewal-api.ts';
import { keepRenewalPlan } from '#gateway/operations/keep-renewal-plan.ts';
import {
  abortCampaign,
  listCampaignDevices,
  pauseCampaign,
  resumeCampaign,
  retryCampaign,
  showCampaign,
} from '#gateway/operations/manage-renewal-campaigns.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { RenewalCampaignWorker } from '#gateway/operations/renewal-campaign-worker.ts';
import { type CampaignOrder, startCampaign } from '#gateway/operations/start-renewal-campaign.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { type CampaignDevice, CampaignFleet } from '#test/fixtures/gateway/campaign-fleet.ts';
import { ARRIVAL, csrOf, HOUR, newKey, openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';

const ORDER: CampaignOrder = {
  group: 'default',
  reason: 'test',
  perMinute: 6000,
  abortPercent: 50,
  giveUpSeconds: 2 * 3600,
  actor: 'test',
};

let world: World;
let fleet: CampaignFleet;

beforeEach(async () => {
  world = await openWorld();
  fleet = new CampaignFleet(world);
});
afterEach(() => world.close());

/** A device that is there and renews, and others that are away. */
async function mixedFleet(away: number): Promise<[CampaignDevice, ...CampaignDevice[]]> {
  const [there, ...others] = await fleet.add(1 + away);
  if (there === undefined) throw new Error('a device');
  await fleet.goOnline(there);
  return [there, ...others];
}

const show = (id: string): Promise<RenewalCampaignDetail> => showCampaign(world, id);
const openOrders = (device: CampaignDevice) => world.store.read.notices.listUnfinished(device.id, world.clock.at);

/** All told, whoever is there has renewed, and the others were given up. */
async function toFinished(there: CampaignDevice, order: Partial<CampaignOrder> = {}): Promise<string> {
  const { id } = await startCampaign(world, { ...ORDER, ...order });
  await fleet.turns(2);
  await fleet.renew(there);
  world.clock.at += 2 * HOUR;
  await fleet.turns(2);
  expect((await show(id)).state).toBe('finished');
  return id;
}

it('ends without those that are away, names them, and leaves them their order', async () => {
  const [there, second, third] = (await mixedFleet(2)) as [CampaignDevice, CampaignDevice, CampaignDevice];
  await fleet.goOnline(third);
  await fleet.goOffline(third);
  const lastSeen = new Date(world.clock.at).toISOString();
  const { id } = await startCampaign(world, ORDER);
  await fleet.turns(2);
  await fleet.renew(there);
  const told = await show(id);
  expect(told).toMatchObject({ state: 'running', devices: { renewed: 1, ordered: 2 } });
  expect(told.givesUpAt).toBe((told.lastTurnAt ?? 0) + 2 * HOUR);

  world.clock.at = (told.givesUpAt ?? 0) - 2000;
  await fleet.turns(1);
  expect((await show(id)).state).toBe('running');
  await fleet.turns(2);
  expect(await show(id)).toMatchObject({
    state: 'finished',
    detail: '1 renewed, 0 failed, 2 not reached',
    givesUpAt: null,
    devices: { renewed: 1, ordered: 0, unreached: 2, failed: 0 },
  });
  const { items } = await listCampaignDevices(world, { id, limit: 10, state: 'unreached' });
  expect(items).toMatchObject([
    { deviceId: 'press-01', result: 'offline', detail: 'never connected' },
    { deviceId: 'press-02', result: 'offline', detail: `last connected ${lastSeen}` },
  ]);
  for (const device of [second, third]) expect(await openOrders(device)).toHaveLength(1);
});

it('notes how it went with those that come back later, after a restart too', async () => {
  const [there, second, third] = (await mixedFleet(2)) as [CampaignDevice, CampaignDevice, CampaignDevice];
  const id = await toFinished(there);
  await fleet.restart();
  const [order] = await openOrders(second);
  await fleet.goOnline(second, third);
  const acknowledge = async (device: CampaignDevice, outcome: 'received' | 'failed', detail?: string) => {
    const [notice] = await openOrders(device);
    world.broker.sendNotice(device.id, notice?.token ?? '');
    await fleet.acknowledge(device, outcome, detail);
  };
  await acknowledge(second, 'received');
  expect(await fleet.results(id)).toMatchObject({ 'press-01': 'under way', 'press-02': 'offline' });
  await fleet.renew(second);
  await acknowledge(third, 'failed', 'flash is full');
  expect(await fleet.results(id)).toMatchObject({ 'press-01': 'renewed', 'press-02': 'failed' });
  expect(await show(id)).toMatchObject({ state: 'finished', devices: { renewed: 2, failed: 1, unreached: 0 } });
  expect(order?.kind).toBe('renew');
});

it('knows why one that came back late was refused, and leaves one that was refused to the campaign that told it', async () => {
  const [there, late, refused] = (await mixedFleet(2)) as [CampaignDevice, CampaignDevice, CampaignDevice];
  const askInVain = async (device: CampaignDevice) => {
    const csr = await csrOf(newKey(), { commonName: 'other' });
    const attempt = { attemptId: 'a-00000000000000ab', ...ARRIVAL, peer: device.der, csr };
    await expect(reenrollDevice(world, attempt)).rejects.toMatchObject({ code: 'IDENTITY_MISMATCH' });
  };
  const id = await toFinished(there);
  await fleet.goOnline(late);
  await askInVain(late);
  const [notice] = await openOrders(late);
  world.broker.sendNotice(late.id, notice?.token ?? '');
  await fleet.acknowledge(late, 'failed', 'the gateway refused');
  const { items } = await listCampaignDevices(world, { id, limit: 5, state: 'failed' });
  expect(items).toMatchObject([
    { detail: 'refused: IDENTITY_MISMATCH in attempt a-00000000000000ab', result: 'refused' },
  ]);

  // Over EST, so it need not be connected.
  await askInVain(refused);
  await startCampaign(world, ORDER);
  const kept = await world.store.read.renewalCampaigns.findItem(id, refused.id);
  expect(kept).toMatchObject({ state: 'unreached', detail: expect.stringContaining('IDENTITY_MISMATCH') });
});

it('counts those that are connected and silent as failed, and whoever is in no state to renew as skipped', async () => {
  const [there, silent, held] = (await mixedFleet(2)) as [CampaignDevice, CampaignDevice, CampaignDevice];
  await fleet.goOnline(silent);
  const { id } = await startCampaign(world, ORDER);
  await fleet.turns(2);
  await fleet.renew(there);
  await world.store.write((tables) => tables.devices.update(held.id, { state: 'held' }));
  world.clock.at += 2 * HOUR;
  await fleet.turns(2);
  expect(await show(id)).toMatchObject({ state: 'finished', detail: '1 renewed, 1 failed' });
  expect(await fleet.results(id)).toMatchObject({ 'press-01': 'not acknowledged', 'press-02': 'skipped' });
});

it('gives up page by page, and takes what is given up for no reason to abort and withdraw the other orders', async () => {
  const [there, away] = (await mixedFleet(1)) as [CampaignDevice, CampaignDevice];
  const { id } = await startCampaign(world, { ...ORDER, abortPercent: 0 });
  await fleet.turns(2);
  // They have all begun as this one has, and fell silent.
  await fleet.acknowledge(there, 'received');
  const like = await world.store.read.devices.find(there.id);
  const item = await world.store.read.renewalCampaigns.findItem(id, there.id);
  if (like === undefined || item === undefined) throw new Error('it was told');
  await world.store.write(async (tables) => {
    for (let n = 0; n < 600; n += 1) {
      const deviceId = parseDeviceId(`early-${n}`);
      await tables.devices.insert({ ...like, deviceId });
      await tables.renewalCampaigns.addItems([{ ...item, deviceId }]);
    }
  });
  world.clock.at += 2 * HOUR;
  await fleet.turns(1);
  expect(await show(id)).toMatchObject({ state: 'running', devices: { ordered: 102, failed: 500 } });
  await fleet.turns(2);
  expect(await show(id)).toMatchObject({ state: 'finished', detail: '0 renewed, 601 failed, 1 not reached' });
  expect(await openOrders(away)).toHaveLength(1);
});

it('waits as long as it was told to, counted from the last device that was told and not from a pause', async () => {
  const [there] = await mixedFleet(1);
  const { id } = await startCampaign(world, ORDER);
  await fleet.turns(2);
  await fleet.renew(there);
  world.clock.at += HOUR;
  await pauseCampaign(world, { id, actor: 'test' });
  world.clock.at += 10 * HOUR;
  await fleet.turns(1);
  await resumeCampaign(world, { id, actor: 'test' });
  await fleet.turns(1);
  world.clock.at += HOUR;
  await fleet.turns(1);
  expect((await show(id)).state).toBe('running');
  world.clock.at += HOUR;
  await fleet.turns(2);
  expect((await show(id)).state).toBe('finished');
});

it('does not count the time in which nobody could renew', async () => {
  const [there] = await mixedFleet(1);
  await keepRenewalPlan(world);
  const { id } = await startCampaign(world, ORDER);
  await fleet.turns(2);
  await fleet.renew(there);
  world.clock.at += HOUR;
  await keepRenewalPlan(world);
  world.clock.at += 5 * HOUR;
  // The authority is still away.
  await fleet.turns(2);
  expect((await show(id)).state).toBe('running');
  await keepRenewalPlan(world);
  await fleet.turns(2);
  const { state, givesUpAt } = await show(id);
  expect(state).toBe('running');
  // The gateway looked once in the hour before, which is an outage as well.
  expect(givesUpAt).toBeGreaterThan(world.clock.at + HOUR);
});

it('tells those that were not reached again when asked to, without a second order', async () => {
  const [there, second] = (await mixedFleet(1)) as [CampaignDevice, CampaignDevice];
  const id = await toFinished(there);
  const [before] = await openOrders(second);
  expect(await retryCampaign(world, { id, actor: 'test' })).toMatchObject({
    state: 'running',
    devices: { waiting: 1 },
  });
  await fleet.turns(2);
  expect(await openOrders(second)).toEqual([before]);
  expect(await show(id)).toMatchObject({ state: 'running', finishedAt: null, devices: { ordered: 1, unreached: 0 } });
  world.clock.at += 2 * HOUR;
  await fleet.turns(2);
  expect(await show(id)).toMatchObject({ state: 'finished', detail: '1 renewed, 0 failed, 1 not reached' });
});

it('is taken over, where devices are merely away, by a new campaign: one order, and both know how it went', async () => {
  const [there, second] = (await mixedFleet(1)) as [CampaignDevice, CampaignDevice];
  const older = await startCampaign(world, ORDER);
  await fleet.turns(2);
  await fleet.renew(there);
  const [before] = await openOrders(second);
  const newer = await startCampaign(world, ORDER);
  expect(await fleet.results(older.id)).toMatchObject({ 'press-01': 'offline' });
  await fleet.turns(3);
  expect(await show(older.id)).toMatchObject({ state: 'finished', detail: '1 renewed, 0 failed, 1 not reached' });
  const { items } = await listCampaignDevices(world, { id: older.id, limit: 5, state: 'unreached' });
  expect(items).toMatchObject([{ deviceId: 'press-01', detail: `taken over by ${newer.id}` }]);
  expect(await openOrders(second)).toEqual([before]);
  expect(await show(newer.id)).toMatchObject({ state: 'running' });

  await fleet.goOnline(second);
  await fleet.renew(second);
  for (const { id } of [older, newer]) expect(await fleet.results(id)).toMatchObject({ 'press-01': 'renewed' });
});

it('keeps a device that is connected, or has begun, for the campaign that told it', async () => {
  const [there, away] = (await mixedFleet(1)) as [CampaignDevice, CampaignDevice];
  const older = await startCampaign(world, ORDER);
  await fleet.turns(2);
  await fleet.acknowledge(there, 'received');
  await fleet.goOffline(there);
  await fleet.goOnline(away);
  await startCampaign(world, ORDER);
  expect(await show(older.id)).toMatchObject({ state: 'running', devices: { ordered: 2, unreached: 0 } });
});

it('stands in the way of a new campaign only while it still has devices to tell', async () => {
  await mixedFleet(1);
  const older = await startCampaign(world, { ...ORDER, withinSeconds: 3600 });
  await expect(startCampaign(world, ORDER)).rejects.toThrow(/has not told all of them yet/);
  await pauseCampaign(world, { id: older.id, actor: 'test' });
  await expect(startCampaign(world, ORDER)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await resumeCampaign(world, { id: older.id, actor: 'test' });
  world.clock.at += HOUR;
  await fleet.turns(2);
  await startCampaign(world, ORDER);
  await expect(retryCampaign(world, { id: older.id, actor: 'test' })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
});

it('says of those whose certificate has ended that it has, and skips them when they are told again', async () => {
  const [there, second] = (await mixedFleet(1)) as [CampaignDevice, CampaignDevice];
  const { id } = await startCampaign(world, { ...ORDER, giveUpSeconds: 30 * 86_400 });
  await fleet.turns(2);
  await fleet.renew(there);
  world.clock.at += 30 * 24 * HOUR;
  await sweep(world);
  await fleet.turns(2);
  const { items } = await listCampaignDevices(world, { id, limit: 5, state: 'unreached' });
  expect(items).toMatchObject([{ detail: 'never connected; its certificate has ended', result: 'offline' }]);
  expect(await openOrders(second)).toEqual([]);
  await retryCampaign(world, { id, actor: 'test' });
  await fleet.turns(3);
  expect(await show(id)).toMatchObject({ state: 'finished', detail: '1 renewed, 0 failed', devices: { skipped: 1 } });
});

it('withdraws an order that was taken over when the newer campaign is aborted, and no other', async () => {
  const [there, second] = (await mixedFleet(1)) as [CampaignDevice, CampaignDevice];
  const older = await startCampaign(world, ORDER);
  await fleet.turns(2);
  await fleet.renew(there);
  const newer = await startCampaign(world, ORDER);
  await abortCampaign(world, { id: newer.id, actor: 'test' });
  // It had not come to its turn: the order is still the older one's.
  expect(await openOrders(second)).toHaveLength(1);
  await retryCampaign(world, { id: older.id, actor: 'test' });
  await fleet.turns(2);
  await abortCampaign(world, { id: older.id, actor: 'test' });
  expect(await openOrders(second)).toEqual([]);
});

it('ends also what a crash has cut off: an abort that had not withdrawn its orders yet', async () => {
  const [, second] = (await mixedFleet(1)) as [CampaignDevice, CampaignDevice];
  const { id } = await startCampaign(world, ORDER);
  await fleet.turns(2);
  // As it stands when the process is killed right after the first of its transactions.
  await world.store.write((tables) => tables.renewalCampaigns.update(id, { state: 'aborted' }));
  await fleet.restart();
  await fleet.turns(1);
  expect(await openOrders(second)).toEqual([]);
  expect(await show(id)).toMatchObject({ state: 'aborted', devices: { skipped: 1 } });
  expect((await show(id)).finishedAt).not.toBeNull();
});

it('carries on a campaign that is one of very many', async () => {
  await mixedFleet(1);
  const { id } = await startCampaign(world, ORDER);
  const campaign = await world.store.read.renewalCampaigns.find(id);
  if (campaign === undefined) throw new Error('a campaign');
  const item = { deviceId: fleet.devices[1]?.id as never, serial: '0', slotAt: 0, noticeId: null, detail: null };
  await world.store.write(async ({ renewalCampaigns }) => {
    for (let n = 0; n < 120; n += 1) {
      const other = { ...campaign, id: `rc-${n}`, createdAt: campaign.createdAt + 1 + n, lastTurnAt: world.clock.at };
      await renewalCampaigns.insert(other);
      await renewalCampaigns.addItems([{ ...item, campaignId: other.id, state: 'ordered', updatedAt: 0 }]);
    }
  });
  await fleet.turns(1);
  expect(await show(id)).toMatchObject({ devices: { waiting: 0, ordered: 2 } });
});

it('is finished by another worker where the first was cut off', async () => {
  const [there] = await mixedFleet(3);
  const { id } = await startCampaign(world, ORDER);
  await fleet.turns(2);
  await fleet.renew(there);
  world.clock.at += 2 * HOUR;
  // The turn in which they are given up, and not the one in which the campaign ends.
  await fleet.worker.turn();
  expect(await show(id)).toMatchObject({ state: 'running', devices: { unreached: 3, ordered: 0 } });
  await world.restart();
  await new RenewalCampaignWorker(world).turn();
  expect(await show(id)).toMatchObject({ state: 'finished', detail: '1 renewed, 0 failed, 3 not reached' });
});
