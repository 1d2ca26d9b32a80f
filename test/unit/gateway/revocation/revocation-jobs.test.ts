import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { RevocationJob } from '#gateway/domain/revocation-job.ts';
import { supersedeOlder } from '#gateway/operations/activate-certificate.ts';
import { activeRecord } from '#gateway/operations/active-record.ts';
import { addDevice, addTicket } from '#gateway/operations/add-device.ts';
import { claimTicket } from '#gateway/operations/claim-ticket.ts';
import { issueOwnCertificate } from '#gateway/operations/issue-own-certificate.ts';
import { addGroup } from '#gateway/operations/manage-groups.ts';
import { addRegistrar } from '#gateway/operations/manage-registrars.ts';
import { type OrderRevocationDeps, orderRevocation, planRevocation } from '#gateway/operations/order-revocation.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { listRevocationItems, showRevocation } from '#gateway/operations/show-revocations.ts';
import { cancelRevocation, pauseRevocation, resumeRevocation } from '#gateway/operations/steer-revocation.ts';
import { StoreError } from '#gateway/ports/store.ts';
import { newSerial } from '#test/fixtures/ca/authority.ts';
import {
  connectDevice,
  csrOf,
  enroll,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';
import {
  type AckWait,
  acknowledgeAll,
  addMember,
  goOnline,
  type Member,
  readToken,
  renew,
  revoker,
  watchWaits,
} from '#test/fixtures/gateway/revocation-world.ts';

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
const isAdmitted = (member: Member) =>
  connectDevice(world, member.der, member.deviceId).then(
    () => true,
    () => false,
  );

describe('one certificate', () => {
  it('is revoked and its session closed, while the other certificate of the device goes on', async () => {
    const old = await addMember(world, 'press-07');
    const young = await renew(world, old);
    await connectDevice(world, young.der, 'press-07');
    goOnline(world, young);
    const job = await orderRevocation(deps, { scope: 'certificate', target: old.serial, reason: 'superseded', actor });
    expect(job).toMatchObject({ state: 'finished', items: { revoked: 1, waiting: 0, failed: 0 }, closed: null });
    expect(world.broker.closed).toEqual([]);
    expect(await isAdmitted(old)).toBe(false);
    expect(await isAdmitted(young)).toBe(true);
    expect((await world.store.read.devices.find(parseDeviceId('press-07')))?.state).toBe('enrolled');
  });

  it('is taken however its serial is written', async () => {
    const { serial, der } = await addMember(world, 'press-07');
    const colons = new X509Certificate(der).serialNumber.match(/../g)?.join(':') ?? '';
    const job = await orderRevocation(deps, { scope: 'certificate', target: colons, reason: 'superseded', actor });
    expect(job).toMatchObject({ target: serial, items: { revoked: 1 } });
  });

  it('leaves a device that had no other as revoked, so that a new ticket can bring it back', async () => {
    const { serial } = await addMember(world, 'press-07');
    await orderRevocation(deps, { scope: 'certificate', target: serial, reason: 'superseded', actor });
    expect((await world.store.read.devices.find(parseDeviceId('press-07')))?.state).toBe('revoked');
  });

  it('leaves a device as revoked, and tells it so, also when what it replaced has not expired yet', async () => {
    const old = await addMember(world, 'press-07');
    const young = await renew(world, old);
    await connectDevice(world, young.der, 'press-07');
    await supersedeOlder(world, young.serial);
    await orderRevocation(deps, { scope: 'certificate', target: young.serial, reason: 'keyCompromise', actor });
    const deviceId = parseDeviceId('press-07');
    expect((await world.store.read.devices.find(deviceId))?.state).toBe('revoked');
    const third = await enroll(world, 'press-07', (await addTicket(world, { deviceId, actor })).ticket);
    await connectDevice(world, third.der, 'press-07');
    await orderRevocation(deps, { scope: 'certificate', target: third.serial, reason: 'superseded', actor });
    const [notice] = await world.store.read.notices.listByDevice(deviceId, 1);
    expect(readToken(notice?.token ?? '').body).toMatchObject({
      serials: [third.serial],
      advice: expect.stringContaining('a new ticket'),
    });
  });

  it('in use takes with it what it has replaced a moment ago: that was good for the switch alone', async () => {
    const old = await addMember(world, 'press-07');
    goOnline(world, old);
    world.clock.at += 1000;
    const young = await renew(world, old);
    await connectDevice(world, young.der, 'press-07');
    expect(await isAdmitted(old)).toBe(true);
    await orderRevocation(deps, { scope: 'certificate', target: young.serial, reason: 'superseded', actor });
    expect([await isAdmitted(old), await isAdmitted(young)]).toEqual([false, false]);
    expect(world.broker.sessions()).toEqual([]);
    expect(await world.store.read.revocations.find(old.serial)).toBeUndefined();
    expect((await world.store.read.devices.find(parseDeviceId('press-07')))?.state).toBe('revoked');
  });

  it('that was revoked before is left as it was', async () => {
    const { serial } = await addMember(world, 'press-07');
    const order = { scope: 'certificate', target: serial, actor } as const;
    await orderRevocation(deps, { ...order, reason: 'keyCompromise' });
    const again = await orderRevocation(deps, { ...order, reason: 'superseded' });
    expect(again).toMatchObject({ state: 'finished', items: { revoked: 0 } });
    expect(await world.store.read.revocations.find(serial)).toMatchObject({ reason: 'keyCompromise' });
  });
});

describe('a key', () => {
  it('is revoked on every device that shows it, and never certified again', async () => {
    const key = newKey();
    const first = await addMember(world, 'press-07', key);
    const clone = await addMember(world, 'press-08', key);
    const other = await addMember(world, 'press-09');
    const { spkiSha256 } = (await world.store.read.certificates.find(first.serial)) ?? { spkiSha256: '' };
    const job = await orderRevocation(deps, { scope: 'key', target: spkiSha256, reason: 'keyCompromise', actor });
    expect(job.items).toMatchObject({ revoked: 2 });
    expect([await isAdmitted(first), await isAdmitted(clone), await isAdmitted(other)]).toEqual([false, false, true]);
    const ticket = await register(world, 'press-10');
    await expect(enroll(world, 'press-10', ticket, key)).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
  });
});

it('a key is revoked on claims and registrars, too, and certified for nobody any more', async () => {
  const key = newKey();
  const commonName = 'assembly';
  const csr = await csrOf(key, { commonName });
  const registrar = { name: commonName, groups: ['default'], lifetimeSeconds: 3600, csr, actor };
  await addRegistrar(world, registrar);
  const ticket = await register(world, 'press-07');
  const deviceId = parseDeviceId('press-07');
  const claim = await claimTicket(world, { deviceId, csr: await csrOf(key), seconds: 600, actor });
  const { spkiSha256 = '' } = (await world.store.read.certificates.find(claim.serial)) ?? {};
  const job = await orderRevocation(deps, { scope: 'key', target: spkiSha256, reason: 'keyCompromise', actor });
  expect(job.items).toMatchObject({ revoked: 2 });
  const revoked = await world.store.read.certificates.list({ state: 'revoked', limit: 9 });
  expect(revoked.map(({ profile }) => profile).toSorted()).toEqual(['device-bootstrap', 'registrar']);
  const refused = { code: 'KEY_NOT_ALLOWED' };
  await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject(refused);
  const again = claimTicket(world, { deviceId, csr: await csrOf(key), seconds: 600, actor });
  await expect(again).rejects.toMatchObject(refused);
  await expect(addRegistrar(world, { ...registrar, name: 'other' })).rejects.toMatchObject(refused);
});

describe('a lineage', () => {
  it('is every certificate renewed from one another, whichever of them is named', async () => {
    const first = await addMember(world, 'press-07');
    const second = await renew(world, first);
    await connectDevice(world, second.der, 'press-07');
    const third = await renew(world, second);
    const job = await orderRevocation(deps, { scope: 'lineage', target: second.serial, reason: 'superseded', actor });
    expect(job).toMatchObject({ target: first.serial, items: { revoked: 3 } });
    for (const member of [first, second, third]) expect(await isAdmitted(member)).toBe(false);
  });
});

/** One of each kind, as the store knows them. */
async function everyKind() {
  const member = await addMember(world, 'press-07');
  const { issuerKeyId = '' } = (await world.store.read.certificates.find(member.serial)) ?? {};
  const { publicKey } = newKey();
  await issueOwnCertificate(world, {
    profile: 'gateway-server',
    publicKey,
    dnsNames: ['gate.example'],
    ipAddresses: [],
  });
  await issueOwnCertificate(world, { profile: 'notice-signer', publicKey });
  await issueOwnCertificate(world, { profile: 'ocsp-responder', publicKey, issuerKeyId });
  const registrar = { profile: 'registrar', name: 'assembly', serial: newSerial(), publicKey } as const;
  const der = await world.authority.issue({ ...registrar, lifetimeSeconds: 3600 });
  const row = activeRecord(der, registrar, { deviceId: null, now: world.clock.now() });
  await world.store.write(({ certificates }) => certificates.insert(row));
  const revoked = async () =>
    (await world.store.read.certificates.list({ state: 'revoked', limit: 9 })).map(({ profile }) => profile).toSorted();
  return { issuerKeyId, revoked };
}

describe('an issuer', () => {
  it('takes the reasons of authorities, which nothing else does', async () => {
    const member = await addMember(world, 'press-07');
    const { issuerKeyId } = (await world.store.read.certificates.find(member.serial)) ?? { issuerKeyId: '' };
    await expect(
      orderRevocation(deps, { scope: 'device', target: 'press-07', reason: 'cACompromise', actor }),
    ).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    const job = await orderRevocation(deps, { scope: 'issuer', target: issuerKeyId, reason: 'cACompromise', actor });
    expect(job).toMatchObject({ state: 'finished', items: { revoked: 1 } });
  });

  it('that issues now loses registrars, too, but not what the gateway itself shows; the plan says so', async () => {
    const { issuerKeyId, revoked } = await everyKind();
    const target = { scope: 'issuer', target: issuerKeyId } as const;
    expect(await planRevocation(world, target)).toMatchObject({
      certificates: 2,
      note: expect.stringContaining('gatehouse ca rollover prepare'),
    });
    const job = await orderRevocation(deps, { ...target, reason: 'cACompromise', actor });
    expect(job.note).toContain("the gateway's own certificates of it stay");
    expect(await revoked()).toEqual(['device', 'registrar']);
  });

  it('that was replaced loses the gateway’s old ones as well, once the gateway has others', async () => {
    const { issuerKeyId, revoked } = await everyKind();
    const { at } = world.clock;
    const generation = { sha256: 'x', kind: 'intermediate', keyId: issuerKeyId, state: 'superseded' } as const;
    await world.store.write(({ caGenerations }) =>
      caGenerations.put({ ...generation, createdAt: at, changedAt: at, reason: null, der: Buffer.from('x') }),
    );
    const order = { scope: 'issuer', target: issuerKeyId, reason: 'cACompromise', actor } as const;
    const shown = Object.create(deps, { ownIssuers: { value: () => [issuerKeyId] } }) as typeof deps;
    await expect(orderRevocation(shown, order)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect(await revoked()).toEqual([]);
    await orderRevocation(deps, order);
    // A responder's certificate answers for what is left of the old CA, and is never asked about.
    expect(await revoked()).toEqual(['device', 'gateway-server', 'notice-signer', 'registrar']);
    expect((await planRevocation(world, order)).note).toBeUndefined();
  });
});

it('an issuer that was replaced loses what it had in hand when that was ordered, too; one in use does not', async () => {
  const first = await addMember(world, 'press-07');
  const { issuerKeyId = '' } = (await world.store.read.certificates.find(first.serial)) ?? {};
  const { id } = await insertJob({ scope: 'issuer', target: issuerKeyId, state: 'running' });
  world.clock.at += 1000;
  const second = await addMember(world, 'press-08');
  await deps.revocationJobs.work({ id });
  expect([await isAdmitted(first), await isAdmitted(second)]).toEqual([false, true]);
  const { at } = world.clock;
  const generation = { sha256: 'x', kind: 'intermediate', keyId: issuerKeyId, state: 'superseded' } as const;
  await world.store.write(({ caGenerations }) =>
    caGenerations.put({ ...generation, createdAt: at, changedAt: at, reason: null, der: Buffer.from('x') }),
  );
  const late = await insertJob({ id: 'r-2', scope: 'issuer', target: issuerKeyId, createdAt: at - 1000 });
  await deps.revocationJobs.work(late);
  expect(await isAdmitted(second)).toBe(false);
});

describe('a group', () => {
  beforeEach(() => addGroup(world, { name: 'line-3', change: {}, actor }));

  it('lands for all of its devices at once: 30 that never answer are waited for in the same second', async () => {
    const COUNT = 30;
    const members: Member[] = [];
    for (let i = 0; i < COUNT; i += 1) members.push(await addToGroup(`press-${i}`));
    const outsider = await addMember(world, 'outsider');
    for (const member of [...members, outsider]) goOnline(world, member);
    const waits = watchWaits(world);
    const order = { scope: 'group', target: 'line-3', reason: 'cessationOfOperation', actor } as const;
    const { id } = await orderRevocation(deps, order);
    await deps.revocationJobs.work({ id });
    const job = await showRevocation(deps, id);
    expect(job).toMatchObject({ state: 'finished', items: { revoked: COUNT }, closed: { sessions: COUNT } });
    expect(job.closed?.max).toBeGreaterThanOrEqual(990);
    expect(world.broker.closed).toHaveLength(COUNT);
    // Nobody's wait began after another's had ended.
    expect(waits).toEqual([...Array<AckWait>(COUNT).fill('begun'), ...Array<AckWait>(COUNT).fill('in vain')]);
    expect(world.broker.sessions().map(({ deviceId }) => deviceId)).toEqual(['outsider']);
  });

  it('takes the tickets of devices that have no certificate yet', async () => {
    const { ticket } = await addDevice(world, { deviceId: parseDeviceId('press-07'), group: 'line-3', actor });
    await orderRevocation(deps, { scope: 'group', target: 'line-3', reason: 'cessationOfOperation', actor });
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_REVOKED' });
  });

  it('takes the ticket that a device has got since it was revoked, of a group and by itself', async () => {
    const deviceId = parseDeviceId('press-07');
    await addToGroup('press-07');
    for (const target of [
      { scope: 'group', target: 'line-3' },
      { scope: 'device', target: 'press-07' },
    ] as const) {
      await revokeDevice(deps, { deviceId, reason: 'superseded', actor, requestedAt: 0, becomes: 'revoked' });
      const { ticket } = await addTicket(world, { deviceId, actor });
      await orderRevocation(deps, { ...target, reason: 'cessationOfOperation', actor });
      await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_REVOKED' });
    }
  });

  it('goes at its rate, and stops when it is cancelled, among devices without a certificate too', async () => {
    for (let i = 0; i < 6; i += 1)
      await addDevice(world, { deviceId: parseDeviceId(`press-${i}`), group: 'line-3', actor });
    const order = { scope: 'group', target: 'line-3', reason: 'superseded', rate: 2, actor } as const;
    const ordering = orderRevocation(deps, order);
    const { id } = await theJob();
    await until(async () => (await countRevoked()) >= 1);
    await cancelRevocation(deps, { id, actor });
    await ordering;
    await deps.revocationJobs.stop();
    expect(await countRevoked()).toBeLessThan(6);
  });

  it('measures each session to its closed socket, and keeps it with the revocation', async () => {
    acknowledgeAll(world);
    const member = await addToGroup('press-07');
    goOnline(world, member);
    const waits = watchWaits(world);
    const job = await orderRevocation(deps, { scope: 'group', target: 'line-3', reason: 'superseded', actor });
    // Closed for its answer, not for the second that it would have had.
    expect(waits).toEqual(['begun', 'acknowledged']);
    expect(job.closed?.max).toBeGreaterThan(0);
    const { items } = await listRevocationItems(deps, { id: job.id, limit: 10 });
    expect(items).toMatchObject([{ serial: member.serial, state: 'revoked', closedAfterMs: job.closed?.max }]);
    expect((await world.store.read.revocations.find(member.serial))?.closedAfterMs).toBe(job.closed?.max);
  });

  it('says beforehand what it would do, and does nothing', async () => {
    const member = await addToGroup('press-07');
    await addToGroup('press-08');
    goOnline(world, member);
    const plan = await planRevocation(deps, { scope: 'group', target: 'line-3' });
    expect(plan).toMatchObject({ certificates: 2, devices: 2, sessions: 1 });
    expect(plan.sample).toContainEqual({ serial: member.serial, deviceId: 'press-07' });
    expect(await isAdmitted(member)).toBe(true);
  });

  it('goes at the rate that was asked for', async () => {
    for (let i = 0; i < 6; i += 1) await addToGroup(`press-${i}`);
    const started = performance.now();
    await orderRevocation(deps, { scope: 'group', target: 'line-3', reason: 'superseded', rate: 4, actor });
    // Six at four a second, two at a time: the first two at once, the others half a second apart.
    expect(performance.now() - started).toBeGreaterThan(990);
  });

  it('stops between batches when it is paused, goes on when resumed, and is left when cancelled', async () => {
    for (let i = 0; i < 5; i += 1) await addToGroup(`press-${i}`);
    const ordering = orderRevocation(deps, { scope: 'group', target: 'line-3', reason: 'superseded', rate: 2, actor });
    const { id } = await theJob();
    await until(async () => (await showRevocation(deps, id)).items.revoked >= 1);
    expect(await pauseRevocation(deps, { id, actor })).toMatchObject({ state: 'paused' });
    await ordering;
    const paused = await showRevocation(deps, id);
    expect(paused).toMatchObject({ state: 'paused', finishedAt: null });
    expect(paused.items.waiting).toBeGreaterThan(0);
    await expect(pauseRevocation(deps, { id, actor })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await resumeRevocation(deps, { id, rate: 10_000, actor });
    await until(async () => (await showRevocation(deps, id)).state === 'finished');
    expect((await showRevocation(deps, id)).items).toMatchObject({ revoked: 5, waiting: 0 });
    await expect(cancelRevocation(deps, { id, actor })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });

  it('is taken up by the next worker after a restart, and only what was left is done', async () => {
    for (let i = 0; i < 4; i += 1) await addToGroup(`press-${i}`);
    const ordering = orderRevocation(deps, { scope: 'group', target: 'line-3', reason: 'superseded', rate: 2, actor });
    const { id } = await theJob();
    await until(async () => (await showRevocation(deps, id)).items.revoked >= 1);
    await deps.revocationJobs.stop();
    await ordering;
    expect(await showRevocation(deps, id)).toMatchObject({ state: 'running' });
    await world.restart();
    const next = revoker(world);
    await next.revocationJobs.takeUp();
    await next.revocationJobs.work({ id });
    expect(await showRevocation(next, id)).toMatchObject({ state: 'finished', items: { revoked: 4, unchanged: 0 } });
  });

  it('is done by one worker at a time, and by another when the first has died', async () => {
    for (let i = 0; i < 3; i += 1) await addToGroup(`press-${i}`);
    const { id } = await insertJob();
    await world.store.write((tables) =>
      tables.leases.acquire(`revocation-job:${id}`, 'w-dead', world.clock.now(), world.clock.now() + 5000),
    );
    await deps.revocationJobs.work({ id });
    expect((await showRevocation(deps, id)).items.revoked).toBe(0);
    world.clock.at += 5001;
    await deps.revocationJobs.work({ id });
    expect(await showRevocation(deps, id)).toMatchObject({ state: 'finished', items: { revoked: 3 } });
  });

  it('shuts everybody out also when nothing can be written, and says so', async () => {
    const member = await addToGroup('press-07');
    goOnline(world, member);
    world.store.write = () => Promise.reject(new StoreError('UNAVAILABLE', 'the disk is full'));
    await expect(
      orderRevocation(deps, { scope: 'group', target: 'line-3', reason: 'keyCompromise', actor }),
    ).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    Reflect.deleteProperty(world.store, 'write');
    expect(world.broker.closed).toHaveLength(1);
    expect(world.denySet.has(member.serial)).toBe(true);
  });
});

it('says of a device that was retired that it stays so', async () => {
  const deviceId = parseDeviceId('press-07');
  await addMember(world, 'press-07');
  const order = { deviceId, reason: 'superseded', actor, requestedAt: 0 } as const;
  await revokeDevice(deps, { ...order, becomes: 'retired' });
  await revokeDevice(deps, { ...order, becomes: 'revoked' });
  expect((await world.store.read.devices.find(deviceId))?.state).toBe('retired');
  const [entry] = await world.store.read.audit.list({ limit: 1, action: 'device.revoked' });
  expect(entry?.detail).toBe('superseded; it was retired before and stays so');
});

it('tells each device in a signed notice what happened to which certificate', async () => {
  acknowledgeAll(world);
  const member = await addMember(world, 'press-07');
  goOnline(world, member);
  await orderRevocation(deps, { scope: 'certificate', target: member.serial, reason: 'superseded', actor });
  const notices = world.broker.sent.map(({ token }) => readToken(token));
  expect(notices).toMatchObject([{ kind: 'revoked', body: { serials: [member.serial], reason: 'superseded' } }]);
});

it.each([
  ['device', 'nobody'],
  ['certificate', '00'.repeat(16)],
  ['lineage', 'ff'.repeat(16)],
  ['group', 'nowhere'],
  ['key', '00'.repeat(32)],
  ['issuer', '00'.repeat(20)],
] as const)('a %s that does not exist is not found', async (scope, target) => {
  await expect(orderRevocation(deps, { scope, target, reason: 'superseded', actor })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

async function countRevoked(): Promise<number> {
  return (await world.store.read.devices.list({ state: 'revoked', limit: 9 })).length;
}

/** The store has no events to wait for. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const giveUp = performance.now() + 60_000;
  while (!(await isSo())) {
    if (performance.now() > giveUp) throw new Error('it never came to be');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function insertJob(change: Partial<RevocationJob> = {}) {
  const job = { scope: 'group', target: 'line-3', reason: 'superseded', state: 'running', rate: null } as const;
  const created = { id: 'r-1', createdAt: world.clock.now(), createdBy: actor, finishedAt: null, ...change };
  await world.store.write((tables) => tables.revocationJobs.insert({ ...job, ...created }, []));
  return created;
}

async function theJob() {
  await until(async () => (await world.store.read.revocationJobs.list({ limit: 1 })).length === 1);
  const [job] = await world.store.read.revocationJobs.list({ limit: 1 });
  if (job === undefined) throw new Error('no job');
  return job;
}

/** A device of line-3 that has used its certificate. */
async function addToGroup(deviceId: string): Promise<Member> {
  const { ticket } = await addDevice(world, { deviceId: parseDeviceId(deviceId), group: 'line-3', actor });
  const { der, serial, key } = await enroll(world, deviceId, ticket);
  await connectDevice(world, der, deviceId);
  return { deviceId, der, key, serial: serial as Member['serial'] };
}
