import { afterEach, beforeEach, expect, it } from 'vitest';
import { oid, printableString, sequence, setOf } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import { answerCsrMessage } from '#gateway/operations/answer-csr-message.ts';
import { BackgroundWrites } from '#gateway/operations/background-writes.ts';
import { createTpmChallenge } from '#gateway/operations/create-tpm-challenge.ts';
import { endCutOff } from '#gateway/operations/end-cut-off.ts';
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
import { WorkLeases } from '#gateway/operations/work-leases.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { type CampaignDevice, CampaignFleet } from '#test/fixtures/gateway/campaign-fleet.ts';
import { ARRIVAL, csrOf, HOUR, newKey, openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';
import { makeCsr } from '#test/fixtures/processes/device-credential.ts';

let world: World;
let fleet: CampaignFleet;
let devices: CampaignDevice[];

beforeEach(async () => {
  world = await openWorld();
  fleet = new CampaignFleet(world);
  ({ devices } = fleet);
});
afterEach(() => world.close());

const ORDER: CampaignOrder = {
  group: 'default',
  reason: 'test',
  perMinute: 600,
  abortPercent: 50,
  giveUpSeconds: 3600,
  actor: 'test',
};

type Six = [CampaignDevice, CampaignDevice, CampaignDevice, CampaignDevice, CampaignDevice, CampaignDevice];
const first = (): CampaignDevice => devices[0] as CampaignDevice;

it('tells every device within the time given, each at its own moment, and ends when all have renewed', async () => {
  await fleet.add(12);
  await fleet.goOnline(...devices);
  const { id, endsAt, startsAt, devices: counts } = await startCampaign(world, { ...ORDER, withinSeconds: 60 });
  expect(endsAt - startsAt).toBe(60_000);
  expect(counts).toMatchObject({ waiting: 12 });
  await fleet.turns(30);
  const half = fleet.notified().length;
  expect(half).toBeGreaterThan(0);
  expect(half).toBeLessThan(12);
  await fleet.turns(31);
  expect(new Set(fleet.notified().map(({ deviceId }) => deviceId)).size).toBe(12);
  expect(fleet.notified()).toHaveLength(12);
  for (const device of devices) await fleet.renew(device);
  await fleet.turns(3);
  const campaign = await showCampaign(world, id);
  expect(campaign).toMatchObject({ state: 'finished', detail: '12 renewed, 0 failed', devices: { renewed: 12 } });
});

it('tells a tenth of its rate while the gateway turns requests away, and the whole of it again afterwards', async () => {
  await fleet.add(60);
  await fleet.goOnline(...devices);
  let isSaturated = true;
  world.saturation.isAt = () => isSaturated;
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 600 });
  // All are due at once: the rate alone, ten a second, is what spreads them.
  await world.store.write(async ({ renewalCampaigns }) => {
    for (const device of devices) await renewalCampaigns.updateItem(id, device.id, { slotAt: world.clock.at });
  });
  await fleet.turns(10);
  const during = fleet.notified().length;
  expect(during).toBeGreaterThanOrEqual(9);
  expect(during).toBeLessThanOrEqual(12);
  isSaturated = false;
  await fleet.turns(5);
  expect(fleet.notified().length - during).toBeGreaterThanOrEqual(45);
});

it('takes longer than was asked for when the rate needs it', async () => {
  await fleet.add(4);
  const { startsAt, endsAt } = await startCampaign(world, { ...ORDER, withinSeconds: 60, perMinute: 1 });
  expect(endsAt - startsAt).toBe(240_000);
});

it('never tells more a minute than allowed, also after a pause in which all came due', async () => {
  await fleet.add(20);
  await fleet.goOnline(...devices);
  const { id } = await startCampaign(world, { ...ORDER, withinSeconds: 60, perMinute: 20 });
  await pauseCampaign(world, { id, actor: 'test' });
  await fleet.turns(120);
  expect(fleet.notified()).toEqual([]);
  await resumeCampaign(world, { id, actor: 'test' });
  await fleet.turns(30);
  expect(fleet.notified().length).toBeGreaterThanOrEqual(9);
  expect(fleet.notified().length).toBeLessThanOrEqual(11);
  await fleet.turns(31);
  expect(fleet.notified()).toHaveLength(20);
});

it('goes on after a restart where it was, and tells nobody twice', async () => {
  await fleet.add(10);
  await fleet.goOnline(...devices);
  await startCampaign(world, { ...ORDER, withinSeconds: 20 });
  await fleet.turns(8);
  const before = fleet.notified().length;
  expect(before).toBeGreaterThan(0);
  await fleet.restart();
  world.clock.at += 60_000;
  await fleet.turns(30);
  expect(fleet.notified()).toHaveLength(10);
  expect(new Set(fleet.notified().map(({ noticeId }) => noticeId)).size).toBe(10);
});

it('is done by one worker at a time', async () => {
  await fleet.add(6);
  await fleet.goOnline(...devices);
  await startCampaign(world, { ...ORDER, perMinute: 6000 });
  const processes = ['w-1', 'w-2'].map((holder) => {
    const own = new RenewalCampaignWorker(world);
    return new WorkLeases(world, { holder }).only('renewal campaigns', () => own.turn());
  });
  world.clock.at += 2000;
  await Promise.all(processes.map((turn) => turn()));
  expect(fleet.notified()).toHaveLength(6);
});

it('aborts when too many fail, and tells nobody any more, also not who comes online later', async () => {
  await fleet.add(30);
  const [online, offline] = [devices.slice(0, 12), devices.slice(12)];
  await fleet.goOnline(...online);
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 6000, abortPercent: 5 });
  await fleet.turns(1);
  for (const device of online) await fleet.acknowledge(device, 'failed', 'no space left on the device');
  await fleet.turns(3);
  const campaign = await showCampaign(world, id);
  expect(campaign).toMatchObject({ state: 'aborted', detail: '12 of 12 failed' });
  expect(campaign.devices).toMatchObject({ failed: 12, skipped: 18, waiting: 0, ordered: 0 });
  for (const { id: deviceId } of offline)
    expect(await world.store.read.notices.listUnfinished(deviceId, world.clock.at)).toEqual([]);
  const audit = await world.store.read.audit.list({ action: 'renewal.aborted', limit: 5 });
  expect(audit).toMatchObject([{ outcome: 'failed', detail: '12 of 12 failed' }]);
});

it('tells for each device how it went', async () => {
  await fleet.add(6);
  const [renewed, failed, silent, busy, refused] = devices as Six;
  await fleet.goOnline(renewed, failed, silent, busy, refused);
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 6000, abortPercent: 100 });
  await fleet.turns(2);
  await fleet.renew(renewed);
  await fleet.acknowledge(failed, 'received');
  await fleet.acknowledge(failed, 'failed', 'no space left on the device');
  await fleet.acknowledge(busy, 'received');
  await expect(
    reenrollDevice(world, {
      attemptId: 'a-00000000000000ab',
      ...ARRIVAL,
      peer: refused.der,
      csr: await csrOf(newKey(), { commonName: 'other' }),
    }),
  ).rejects.toThrow();
  await fleet.acknowledge(refused, 'failed', 'the gateway refused');
  expect(await fleet.results(id)).toEqual({
    'press-00': 'renewed',
    'press-01': 'failed',
    'press-02': 'not acknowledged',
    'press-03': 'under way',
    'press-04': 'refused',
    'press-05': 'offline',
  });
  const { items } = await listCampaignDevices(world, { id, limit: 10, state: 'failed' });
  expect(items.map(({ detail }) => detail)).toEqual([
    'no space left on the device',
    'refused: IDENTITY_MISMATCH in attempt a-00000000000000ab',
  ]);
  // Nobody is waited for for ever.
  world.clock.at += HOUR + 60_000;
  await fleet.turns(3);
  expect(await showCampaign(world, id)).toMatchObject({
    state: 'finished',
    detail: '1 renewed, 4 failed, 1 not reached',
  });
  expect(await fleet.results(id)).toMatchObject({
    'press-02': 'not acknowledged',
    'press-03': 'failed',
    'press-05': 'offline',
  });
  // One that comes back late is seen to have renewed all the same.
  await fleet.renew(devices[5] as CampaignDevice);
  expect(await fleet.results(id)).toMatchObject({ 'press-05': 'renewed' });
});

/** Asks for a name it may not have. */
async function askInVain(device: CampaignDevice, attemptId: string): Promise<void> {
  const csr = await csrOf(newKey(), { commonName: 'other' });
  await expect(reenrollDevice(world, { attemptId, ...ARRIVAL, peer: device.der, csr })).rejects.toMatchObject({
    code: 'IDENTITY_MISMATCH',
  });
}

it('knows the reason of a refusal when the device says so before the attempt is on record', async () => {
  await fleet.add(1);
  await fleet.goOnline(first());
  // Records that nobody waits for may take as long as they like.
  world.background = new BackgroundWrites(world, { delayMs: 60_000, batchSize: 64 });
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 6000 });
  await fleet.turns(2);
  await askInVain(first(), 'a-00000000000000ab');
  await fleet.acknowledge(first(), 'failed', 'the gateway refused');
  expect(await world.store.read.attempts.find('a-00000000000000ab')).toBeUndefined();
  const { items } = await listCampaignDevices(world, { id, limit: 10 });
  expect(items).toMatchObject([
    { result: 'refused', detail: 'refused: IDENTITY_MISMATCH in attempt a-00000000000000ab' },
  ]);
});

it('finds each refused device with its attempt, also when all come from one address', async () => {
  await fleet.add(4);
  await fleet.goOnline(...devices);
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 6000 });
  await fleet.turns(2);
  // So many others were refused there that no more of its attempts are kept.
  const other = { network: networkOf(ARRIVAL.address), code: 'KEY_NOT_ALLOWED' } as const;
  for (let place = 0; world.attemptRows.take({ ...other, deviceId: `other-${place}` }, world.clock.now()); place += 1);
  for (const [place, device] of devices.entries()) {
    await askInVain(device, `a-000000000000000${place}`);
    // The same again is no news.
    await askInVain(device, `a-00000000000000f${place}`);
    await fleet.acknowledge(device, 'failed', 'the gateway refused');
  }
  await world.background.flush();
  expect(new Set(Object.values(await fleet.results(id)))).toEqual(new Set(['refused']));
  const attempts = await world.store.read.attempts.list({ outcome: 'refused', limit: 10 });
  expect(attempts.map((attempt) => attempt.id).toSorted()).toEqual(
    devices.map((_, place) => `a-000000000000000${place}`),
  );
});

it('knows what was refused before the operation, of a session and of a TPM, too', async () => {
  await fleet.add(2);
  await fleet.goOnline(...devices);
  const [bound, attested] = devices as [CampaignDevice, CampaignDevice];
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 6000 });
  await fleet.turns(2);
  const attribute = sequence(oid(OID.challengePassword), setOf(printableString('of another session')));
  const answer = await answerCsrMessage(
    { ...world, caCertificatesFor: () => [] },
    {
      kind: 'device',
      deviceId: bound.id,
      address: ARRIVAL.address,
      peer: bound.der,
      chain: [],
      tls: {
        getProtocol: () => 'TLSv1.3',
        exportKeyingMaterial: () => Buffer.alloc(32),
        isSessionReused: () => false,
        getFinished: () => undefined,
        getPeerFinished: () => undefined,
      },
    },
    { kind: 'csr', requestId: 'r-1', csr: await makeCsr(makeKey(), { attributes: [attribute] }) },
  );
  expect(answer).toMatchObject({ code: 'CSR_BINDING_INVALID' });
  const challenge = createTpmChallenge(world, {
    attemptId: 'a-00000000000000ac',
    ...ARRIVAL,
    credentials: { by: 'certificate', peer: attested.der, chain: [] },
    ekChain: [],
    akPublic: Buffer.alloc(4),
  });
  await expect(challenge).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  for (const device of devices) await fleet.acknowledge(device, 'failed', 'the gateway refused');
  const { items } = await listCampaignDevices(world, { id, limit: 10 });
  expect(items.map(({ detail }) => detail)).toEqual([
    `refused: CSR_BINDING_INVALID in attempt ${answer.attemptId}`,
    'refused: REQUEST_INVALID in attempt a-00000000000000ac',
  ]);
});

it('keeps the reason of a refusal for one that is never heard again', async () => {
  await fleet.add(1);
  await fleet.goOnline(first());
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 6000, abortPercent: 100 });
  await fleet.turns(2);
  await askInVain(first(), 'a-00000000000000ab');
  expect(await fleet.results(id)).toEqual({ 'press-00': 'not acknowledged' });
  world.clock.at += HOUR + 60_000;
  await fleet.turns(3);
  expect(await fleet.results(id)).toEqual({ 'press-00': 'refused' });
  // It may have been granted all the same.
  await fleet.renew(first());
  expect(await fleet.results(id)).toEqual({ 'press-00': 'renewed' });
});

it('gives those that failed, and only those, another turn', async () => {
  await fleet.add(3);
  await fleet.goOnline(...devices);
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 6000, abortPercent: 100 });
  await fleet.turns(2);
  await fleet.renew(devices[1] as CampaignDevice);
  await fleet.renew(devices[2] as CampaignDevice);
  await fleet.acknowledge(first(), 'failed', 'flash is full');
  await fleet.turns(3);
  expect(await showCampaign(world, id)).toMatchObject({ state: 'finished', devices: { renewed: 2, failed: 1 } });
  world.broker.sent.length = 0;
  expect(await retryCampaign(world, { id, actor: 'test' })).toMatchObject({
    state: 'running',
    devices: { waiting: 1 },
  });
  await fleet.turns(3);
  expect(fleet.notified().map(({ deviceId }) => deviceId)).toEqual(['press-00']);
  await fleet.renew(first());
  await fleet.turns(3);
  expect(await showCampaign(world, id)).toMatchObject({ state: 'finished', devices: { renewed: 3 } });
  await expect(retryCampaign(world, { id, actor: 'test' })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
});

it('leaves alone who has renewed by itself, and who is in no state to', async () => {
  await fleet.add(3);
  await fleet.goOnline(...devices);
  const { id } = await startCampaign(world, { ...ORDER, withinSeconds: 600 });
  await fleet.renew(first());
  await world.store.write((tables) =>
    tables.devices.update((devices[1] as CampaignDevice).id, { state: 'quarantined' }),
  );
  await fleet.turns(601);
  expect(await fleet.results(id)).toMatchObject({ 'press-00': 'renewed', 'press-01': 'skipped' });
  expect(fleet.notified().map(({ deviceId }) => deviceId)).toEqual(['press-02']);
});

it('refuses a group that is not there, one without certificates, and a second campaign over the same devices', async () => {
  await expect(startCampaign(world, { ...ORDER, group: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(startCampaign(world, ORDER)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await fleet.add(1);
  const { id } = await startCampaign(world, ORDER);
  const { group: _, ...everybody } = ORDER;
  await expect(startCampaign(world, everybody)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await abortCampaign(world, { id, actor: 'test' });
  await startCampaign(world, everybody);
  await expect(pauseCampaign(world, { id, actor: 'test' })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await expect(showCampaign(world, 'rc-none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

it('stays aborted when that was said while it was being prepared', async () => {
  await fleet.add(2);
  const write = world.store.write.bind(world.store);
  let isAborting = false;
  // Its row is there before its devices are. Others write meanwhile, too.
  world.store.write = async (work) => {
    const [campaign] = await world.store.read.renewalCampaigns.list({ limit: 1 });
    if (campaign === undefined || isAborting) return write(work);
    isAborting = true;
    Reflect.deleteProperty(world.store, 'write');
    const order = { id: campaign.id, actor: 'test' };
    await expect(resumeCampaign(world, order)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await abortCampaign(world, order);
    return write(work);
  };
  await expect(startCampaign(world, ORDER)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  const [campaign] = await world.store.read.renewalCampaigns.list({ limit: 1 });
  expect(campaign).toMatchObject({ state: 'aborted' });
  await fleet.turns(5);
  expect(world.broker.sent).toEqual([]);
});

it('ends what a crash has cut off while it was prepared, and not what is still prepared', async () => {
  await fleet.add(2);
  const write = world.store.write.bind(world.store);
  let writes = 0;
  // The row is committed, and no device of it.
  world.store.write = (work) => {
    writes += 1;
    return writes === 2 ? Promise.reject(new Error('killed')) : write(work);
  };
  await expect(startCampaign(world, ORDER)).rejects.toThrow('killed');
  Reflect.deleteProperty(world.store, 'write');
  await fleet.restart();
  const [cutOff] = await world.store.read.renewalCampaigns.list({ limit: 1 });
  await fleet.turns(9);
  await expect(startCampaign(world, ORDER)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await fleet.turns(1);
  expect(await showCampaign(world, cutOff?.id ?? '')).toMatchObject({ state: 'aborted', finishedAt: world.clock.at });
  const audit = await world.store.read.audit.list({ action: 'renewal.aborted', limit: 5 });
  expect(audit.map(({ subject, outcome }) => ({ subject, outcome }))).toEqual([
    { subject: cutOff?.id, outcome: 'failed' },
  ]);
  expect(await startCampaign(world, ORDER)).toMatchObject({ state: 'running', lastTurnAt: null });
});

it('goes on preparing as long as it gives a sign of life', async () => {
  await fleet.add(101);
  // A slow disk: two transactions come nine seconds each after the one before.
  const write = world.store.write.bind(world.store);
  let slow = 2;
  world.store.write = async (work) => {
    const [campaign] = await world.store.read.renewalCampaigns.list({ state: 'paused', limit: 1 });
    if (campaign !== undefined && slow > 0) {
      slow -= 1;
      world.clock.at += 9000;
      await endCutOff(world);
    }
    return write(work);
  };
  expect(await startCampaign(world, ORDER)).toMatchObject({ state: 'running', devices: { waiting: 101 } });
});

it('is not retried while another is over the same devices, nor while it is paused', async () => {
  await fleet.add(2);
  const { id } = await startCampaign(world, { ...ORDER, perMinute: 6000 });
  await fleet.turns(2);
  await world.store.write(async ({ renewalCampaigns }) => {
    for (const device of devices) await renewalCampaigns.updateItem(id, device.id, { state: 'failed' });
  });
  await pauseCampaign(world, { id, actor: 'test' });
  await expect(retryCampaign(world, { id, actor: 'test' })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await abortCampaign(world, { id, actor: 'test' });
  const other = await startCampaign(world, ORDER);
  await expect(retryCampaign(world, { id, actor: 'test' })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await abortCampaign(world, { id: other.id, actor: 'test' });
  expect(await retryCampaign(world, { id, actor: 'test' })).toMatchObject({
    state: 'running',
    devices: { waiting: 2 },
  });
});
