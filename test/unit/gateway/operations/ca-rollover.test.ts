import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLocalAuthority } from '#ca/authority/local-authority.ts';
import { certifyAcross, type KeyedCa, lives, makeIntermediate, makeRoot } from '#ca/ceremony/make-ca.ts';
import { type FileJournal, openFileJournal } from '#ca/keys/file-journal.ts';
import { createFileSigner } from '#ca/keys/file-signer.ts';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import type { SucceededAuthority } from '#ca/ports/certificate-authority.ts';
import type { IssuerStore, StoredIssuer } from '#ca/ports/issuer-store.ts';
import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice } from '#gateway/contract/notice.ts';
import { FLEET_TOPICS } from '#gateway/contract/topics.ts';
import {
  activateCa,
  announceCa,
  discardCa,
  listRolloverDevices,
  type RolloverDeps,
  retireCa,
  showRollover,
  taintCa,
} from '#gateway/operations/ca-rollover.ts';
import { CaTrustBook } from '#gateway/operations/ca-trust-book.ts';
import { holdDevice } from '#gateway/operations/hold-device.ts';
import { showCampaign } from '#gateway/operations/manage-renewal-campaigns.ts';
import { RevocationPublisher } from '#gateway/operations/publish-revocations.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { RenewalCampaignWorker } from '#gateway/operations/renewal-campaign-worker.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { startCampaign } from '#gateway/operations/start-renewal-campaign.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { TrustReports, tellFleetTrust } from '#gateway/operations/tell-trust.ts';
import { WorkLeases } from '#gateway/operations/work-leases.ts';
import { createNoticeSigner } from '#gateway/runtime/file-notice-signer.ts';
import {
  ARRIVAL,
  connectDevice,
  csrOf,
  DAY,
  enroll,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

const ACTOR = 'test';

/** Issuing CAs that a ceremony has made, without its folder. */
class MadeIssuers implements IssuerStore {
  readonly issuers: StoredIssuer[] = [];
  #active: string | undefined;

  listAfter = async (number: number) => this.issuers.filter((issuer) => issuer.number > number);
  active = async () => this.#active;
  activate = async (keyId: string) => {
    this.#active = keyId;
  };
  discard = async (keyId: string) => {
    this.issuers.splice(this.issuers.findIndex(({ intermediate }) => intermediate.subjectKeyId === keyId) >>> 0, 1);
  };
}

let world: World;
let root: KeyedCa;
let made: MadeIssuers;
let authority: SucceededAuthority;
let journal: FileJournal;
let deps: RolloverDeps & { trustBook: CaTrustBook; monotonic: { at: number } } & Parameters<typeof tellFleetTrust>[0] &
  ConstructorParameters<typeof TrustReports>[0];

const life = lives(Date.now(), {});
const dates = { notBefore: Date.now() - 3600_000, notAfter: life.root.notAfter };

function stored(number: number, under: KeyedCa, intermediate: KeyedCa, before?: KeyedCa): StoredIssuer {
  const crossCertificates =
    before === undefined
      ? []
      : [certifyAcross(under.certificate, before, dates), certifyAcross(before.certificate, under, dates)];
  return {
    number,
    signer: createFileSigner(intermediate.privateKey),
    root: under.certificate,
    intermediate: intermediate.certificate,
    crossCertificates,
  };
}

async function prepare(kind: 'intermediate' | 'root'): Promise<string> {
  const before = root;
  if (kind === 'root') root = await makeRoot('Plant', life.root);
  const intermediate = await makeIntermediate('Plant', 'ec-p256', root, life.intermediate);
  made.issuers.push(stored(made.issuers.length + 2, root, intermediate, kind === 'root' ? before : undefined));
  return intermediate.certificate.subjectKeyId ?? '';
}

beforeEach(async () => {
  world = await openWorld();
  root = await makeRoot('Plant', life.root);
  made = new MadeIssuers();
  const { number: _, ...first } = stored(1, root, await makeIntermediate('Plant', 'ec-p256', root, life.intermediate));
  journal = await openFileJournal(`${world.folder}/other-journal.jsonl`);
  authority = await openLocalAuthority({
    ...first,
    successors: made,
    journal,
    trustDomain: world.trustDomain,
    clock: world.clock.now,
  });
  const monotonic = { at: 0 };
  const clock = { now: world.clock.now, monotonic: () => monotonic.at };
  const trustBook = new CaTrustBook({ store: world.store, authority, clock });
  await trustBook.load();
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer = createNoticeSigner(() => ({ privateKey, certificates: [trustBook.trust.active.certificate.der] }));
  deps = { ...world, clock, authority, trustBook, signer, monotonic, ownIssuers: () => [trustBook.trust.active.keyId] };
});
afterEach(async () => {
  await journal.close();
  await world.close();
});

/** Enrolled and connected once, with a certificate of the issuer in use. */
async function addDevice(id: string): Promise<DeviceId> {
  const own = { ...world, authority } as unknown as World;
  const { der } = await enroll(own, id, await register(own, id));
  await connectDevice(own, der, id);
  return parseDeviceId(id);
}

/** With what it has, and in use at once. */
async function renew(deviceId: DeviceId): Promise<void> {
  const own = { ...world, authority } as unknown as World;
  const certificates = await world.store.read.certificates.listByDevice(deviceId);
  const der = certificates.find(({ state, supersedeAt }) => state === 'active' && supersedeAt === null)?.der;
  if (der === undefined) throw new Error('it has a certificate in use');
  const { certificate } = await reenrollDevice(own, {
    attemptId: own.random.id('a'),
    ...ARRIVAL,
    peer: der,
    csr: await csrOf(newKey(), { renews: der }),
  });
  await connectDevice(own, certificate, deviceId);
}

const anchorsNow = () => [...new Set(deps.trustBook.trust.issuers.map((issuer) => issuer.root.sha256))];

async function toActivated(kind: 'intermediate' | 'root'): Promise<string> {
  const keyId = await prepare(kind);
  await announceCa(deps, { actor: ACTOR });
  await activateCa(deps, { actor: ACTOR });
  return keyId;
}

describe('the replacement of a CA', () => {
  it('goes step by step, and each step is refused out of its turn', async () => {
    const conflict = expect.objectContaining({ code: 'STATE_CONFLICT' });
    await expect(announceCa(deps, { actor: ACTOR })).rejects.toThrow(/no CA is prepared/);
    await expect(activateCa(deps, { actor: ACTOR })).rejects.toEqual(conflict);
    await expect(taintCa(deps, { actor: ACTOR, abortPercent: 5 })).rejects.toThrow(/no CA has been replaced/);
    await expect(retireCa(deps, { actor: ACTOR, force: false })).rejects.toEqual(conflict);

    const keyId = await prepare('root');
    expect((await showRollover(deps)).phase).toBe('prepared');
    await expect(activateCa(deps, { actor: ACTOR })).rejects.toThrow(/no CA is announced/);
    expect(await announceCa(deps, { actor: ACTOR, reason: 'old age' })).toMatchObject({ keyId, state: 'announced' });
    await expect(announceCa(deps, { actor: ACTOR })).rejects.toEqual(conflict);
    expect(await activateCa(deps, { actor: ACTOR })).toMatchObject({ keyId, state: 'active' });
    expect((await showRollover(deps)).phase).toBe('activated');
    expect(await taintCa(deps, { actor: ACTOR, abortPercent: 5 })).toMatchObject({
      state: 'tainted',
      campaignId: null,
    });
    expect(await retireCa(deps, { actor: ACTOR, force: false })).toMatchObject({ state: 'retired' });
    expect(await showRollover(deps)).toMatchObject({ phase: 'settled', readyPercent: 100 });

    const said = (await world.store.read.audit.list({ limit: 50 })).filter(({ action }) => action.startsWith('ca.'));
    expect(said.map(({ action, actor }) => [action, actor]).toReversed()).toEqual(
      ['ca.announced', 'ca.activated', 'ca.tainted', 'ca.retired'].map((action) => [action, ACTOR]),
    );
    expect(said.at(-1)?.detail).toBe('old age');
  });

  it('numbers what devices are told, upwards, and by the clock after a restore of the database', async () => {
    const versions = [deps.trustBook.trust.version];
    await prepare('root');
    await deps.trustBook.load();
    expect(deps.trustBook.trust.version).toBe(versions[0]);
    versions.push((await announceCa(deps, { actor: ACTOR })).trustVersion);
    versions.push((await activateCa(deps, { actor: ACTOR })).trustVersion);
    expect(versions.toSorted((a, b) => a - b)).toEqual(versions);
    expect(new Set(versions).size).toBe(3);
    world.clock.at += 3600_000;
    await world.store.write((tables) => tables.settings.set('ca-trust-version', '1'));
    const { trustVersion } = await retireCa(deps, { actor: ACTOR, force: false });
    expect(trustVersion).toBeGreaterThan(versions[2] ?? 0);
  });

  it('follows the authority when a crash came between its activation and the record', async () => {
    const keyId = await prepare('root');
    await announceCa(deps, { actor: ACTOR });
    await authority.activateIssuer(keyId);
    const restarted = new CaTrustBook({ store: world.store, authority, clock: deps.clock });
    let changes = 0;
    restarted.onChanged = async () => {
      changes += 1;
    };
    const trust = await restarted.load();
    expect(trust.active.keyId).toBe(keyId);
    expect(trust.issuers.map(({ state }) => state)).toEqual(['superseded', 'active']);
    expect(changes).toBe(1);
    await restarted.load();
    expect(changes).toBe(1);
  });

  it('gives up what was prepared and not announced, on the record, and begins anew', async () => {
    const before = root;
    const keyId = await prepare('root');
    expect((await showRollover(deps)).phase).toBe('prepared');
    const { version } = deps.trustBook.trust;
    const discarded = await discardCa(deps, { actor: ACTOR, reason: 'wrong algorithm' });
    expect(discarded).toMatchObject({ keyId, state: 'discarded', trustVersion: version });
    const status = await showRollover(deps);
    expect(status.phase).toBe('settled');
    const states = status.generations.filter(({ state }) => state === 'discarded');
    expect(states.map(({ kind }) => kind).toSorted()).toEqual(['cross', 'cross', 'intermediate', 'root']);
    expect(states).toContainEqual(expect.objectContaining({ keyId, reason: 'wrong algorithm' }));
    expect(await world.store.read.audit.list({ limit: 5, action: 'ca.discarded' })).toMatchObject([
      { actor: ACTOR, subject: `ca ${keyId}`, detail: 'wrong algorithm' },
    ]);
    await expect(discardCa(deps, { actor: ACTOR })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });

    root = before;
    const next = await prepare('intermediate');
    await announceCa(deps, { actor: ACTOR });
    await expect(discardCa(deps, { actor: ACTOR })).rejects.toThrow(/announced, and devices trust it/);
    expect((await showRollover(deps)).generations.find((one) => one.keyId === next)?.state).toBe('announced');
  });

  it('follows the authority when a crash came between the end of the keys and the record', async () => {
    const keyId = await prepare('intermediate');
    await showRollover(deps);
    await authority.discardIssuer(keyId);
    const found = (await showRollover(deps)).generations.find((one) => one.keyId === keyId);
    expect(found?.state).toBe('discarded');
    expect(await world.store.read.audit.list({ limit: 5, action: 'ca.discarded' })).toMatchObject([
      { actor: 'gateway', subject: `ca ${keyId}` },
    ]);
  });

  it('counts who is ready, names who is not, and refuses to cut them off', async () => {
    await addDevice('press-1');
    const second = await addDevice('press-2');
    await world.store.write(async (tables) => tables.devices.update(second, { trustSeen: anchorsNow().join(' ') }));
    await toActivated('root');
    const late = await addDevice('press-3');
    await world.store.write((tables) =>
      tables.devices.update(late, { trustSeen: anchorsNow().toSorted().join(' '), trustSeenAt: 5 }),
    );
    expect(await showRollover(deps)).toMatchObject({
      devices: 3,
      ready: 1,
      readyPercent: 33.3,
      withAnchors: 1,
      withCertificate: 1,
    });
    const first = await listRolloverDevices(deps, { limit: 1 });
    expect(first.items).toMatchObject([
      { deviceId: 'press-1', lacks: ['anchors', 'certificate'], anchorsSeenAt: null },
    ]);
    const rest = await listRolloverDevices(deps, { limit: 5, after: first.nextCursor ?? '' });
    expect(rest).toMatchObject({ items: [{ deviceId: 'press-2' }], nextCursor: null });

    await expect(retireCa(deps, { actor: ACTOR, force: false })).rejects.toThrow(
      /2 of 3 devices would be cut off \(33\.3 % ready\)/,
    );
    await expect(retireCa(deps, { actor: ACTOR, force: true })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    await retireCa(deps, { actor: ACTOR, force: true, reason: 'scrapped' });
    const [entry] = await world.store.read.audit.list({ limit: 1, action: 'ca.retired' });
    expect(entry?.detail).toBe('forced with 2 devices not ready: scrapped');
  });

  it('is not held up by devices that never had the old root, and say nothing', async () => {
    const first = await addDevice('press-1');
    await toActivated('root');
    await addDevice('press-2');
    expect(await showRollover(deps)).toMatchObject({ devices: 2, ready: 1, withAnchors: 1 });
    const revocation = { reason: 'superseded', actor: ACTOR, requestedAt: 0, becomes: 'revoked' } as const;
    await revokeDevice(world, { ...revocation, deviceId: first });
    await expect(retireCa(deps, { actor: ACTOR, force: false })).resolves.toMatchObject({ state: 'retired' });
  });

  it('waits for a device that has renewed and never said that it trusts the new root', async () => {
    const press = await addDevice('press-1');
    await toActivated('root');
    world.clock.at += 1000;
    await renew(press);
    expect(await showRollover(deps)).toMatchObject({ devices: 1, withCertificate: 1, withAnchors: 0 });
    await expect(retireCa(deps, { actor: ACTOR, force: false })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });

  it('counts those who are held, and those who have not come with their first certificate yet', async () => {
    const own = { ...world, authority } as unknown as World;
    const held = await addDevice('press-1');
    const { der } = await enroll(own, 'press-2', await register(own, 'press-2'));
    await holdDevice(own, { deviceId: held, why: 'test', actor: ACTOR, requestedAt: 0 });
    await toActivated('intermediate');
    expect(await showRollover(deps)).toMatchObject({ devices: 2, ready: 0 });
    await expect(retireCa(deps, { actor: ACTOR, force: false })).rejects.toThrow(/2 of 2 devices would be cut off/);
    await connectDevice(own, der, 'press-2');
    expect(await showRollover(deps)).toMatchObject({ devices: 2, ready: 0 });
    await revokeDevice(own, { deviceId: held, reason: 'superseded', actor: ACTOR, requestedAt: 0, becomes: 'revoked' });
    expect(await showRollover(deps)).toMatchObject({ devices: 1, ready: 0 });
  });

  it('is needed by a device that may still come with a certificate that has expired, as long as it may', async () => {
    const deviceId = await addDevice('press-1');
    const device = await world.store.read.devices.find(deviceId);
    const group = await world.store.read.groups.find(device?.group ?? '');
    if (group === undefined) throw new Error('no group');
    const grant = (graceDecision: 'auto' | 'refuse', version: number) =>
      world.store.write((tables) =>
        tables.groups.put(
          { ...group, version, policy: { ...group.policy, graceSeconds: 60 * 86_400, graceDecision } },
          ACTOR,
        ),
      );
    await toActivated('root');
    await grant('auto', group.version + 1);
    world.clock.at += 30 * DAY;
    await sweep(world);
    expect(await showRollover(deps)).toMatchObject({ devices: 1, ready: 0 });
    await expect(retireCa(deps, { actor: ACTOR, force: false })).rejects.toThrow(/1 of 1 device would be cut off/);
    await grant('refuse', group.version + 2);
    expect(await showRollover(deps)).toMatchObject({ devices: 0 });
    await grant('auto', group.version + 3);
    world.clock.at += 60 * DAY;
    expect(await showRollover(deps)).toMatchObject({ devices: 0 });
  });

  it('is ready for a new intermediate without a word about anchors', async () => {
    await addDevice('press-1');
    await toActivated('intermediate');
    expect(await showRollover(deps)).toMatchObject({ devices: 1, withAnchors: 1, withCertificate: 0, ready: 0 });
  });

  it('has what was issued before renewed by a campaign, and only that', async () => {
    await addDevice('press-1');
    await addDevice('press-2');
    await toActivated('intermediate');
    await addDevice('press-3');
    const { campaignId } = await taintCa(deps, { actor: ACTOR, abortPercent: 5, perMinute: 600 });
    const items = await world.store.read.renewalCampaigns.listItems(campaignId ?? '', { limit: 10 });
    expect(items.map(({ deviceId }) => deviceId)).toEqual(['press-1', 'press-2']);
    await expect(taintCa(deps, { actor: ACTOR, abortPercent: 5 })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });

  it('tells those that are left again, without waiting for one that is away, and notes that it came back after all', async () => {
    const there = await addDevice('press-1');
    const away = await addDevice('press-2');
    await toActivated('intermediate');
    const worker = new RenewalCampaignWorker({ ...deps, saturation: world.saturation });
    const pace = { abortPercent: 5, perMinute: 6000, giveUpSeconds: 3600 };
    const first = await taintCa(deps, { actor: ACTOR, ...pace });
    const turn = async () => {
      world.clock.at += 1000;
      await worker.turn();
    };
    await turn();
    await renew(there);
    const orders = () => world.store.read.notices.listUnfinished(away, world.clock.at);
    const before = await orders();
    expect(before).toMatchObject([{ kind: 'renew' }]);

    // As soon as all are told another one may begin, and has the device that is away from then on.
    const second = await taintCa(deps, { actor: ACTOR, ...pace });
    await turn();
    expect(await showCampaign(deps, first.campaignId ?? '')).toMatchObject({
      state: 'finished',
      detail: '1 renewed, 0 failed, 1 not reached',
    });
    world.clock.at += 3_600_000;
    await turn();
    await turn();
    expect(await showCampaign(deps, second.campaignId ?? '')).toMatchObject({
      state: 'finished',
      detail: '0 renewed, 0 failed, 1 not reached',
    });
    expect(await orders()).toEqual(before);

    await expect(retireCa(deps, { actor: ACTOR, force: false })).rejects.toThrow(/1 of 2 devices would be cut off/);
    expect((await showRollover(deps)).next).toContain('retire --force');
    await retireCa(deps, { actor: ACTOR, force: true, reason: 'one is lost' });
    // It comes to the EST door with what it has, and is seen to have renewed.
    await renew(away);
    for (const { campaignId } of [first, second]) {
      const items = await world.store.read.renewalCampaigns.listItems(campaignId ?? '', { limit: 9 });
      expect(items.find(({ deviceId }) => deviceId === away)?.state).toBe('renewed');
    }
    expect(await showRollover(deps)).toMatchObject({ phase: 'settled', devices: 2, ready: 2 });
  });

  it('does not taint while another campaign goes over the same devices, and names it', async () => {
    await addDevice('press-1');
    const { id } = await startCampaign(deps, { reason: 'keys', abortPercent: 5, actor: ACTOR });
    await toActivated('intermediate');
    await expect(taintCa(deps, { actor: ACTOR, abortPercent: 5 })).rejects.toThrow(`gatehouse renewal abort ${id}`);
    expect((await showRollover(deps)).phase).toBe('activated');
  });

  it('does not retire the CA that the gateway itself still has a certificate of, not even by force', async () => {
    const first = deps.trustBook.trust.active.keyId;
    await toActivated('root');
    const stuck = { ...deps, ownIssuers: () => [first] };
    await expect(retireCa(stuck, { actor: ACTOR, force: true, reason: 'now' })).rejects.toThrow(/the gateway itself/);
  });

  it('changes nothing when the authority is away', async () => {
    await prepare('root');
    await announceCa(deps, { actor: ACTOR });
    const away = {
      ...deps,
      authority: { ...authority, activateIssuer: () => Promise.reject(new Error('unreachable')) } as never,
    };
    await expect(activateCa(away, { actor: ACTOR })).rejects.toThrow();
    expect((await showRollover(deps)).phase).toBe('announced');
  });
});

describe('devices are told of the anchors', () => {
  it('by one retained notice for all', async () => {
    await prepare('root');
    const { trustVersion } = await announceCa(deps, { actor: ACTOR });
    tellFleetTrust(deps);
    const token = world.broker.fleet.findLast(({ topic }) => topic === FLEET_TOPICS.trust)?.token ?? '';
    const notice = parseNotice(parseCompactJws(token).payload);
    expect(notice).toMatchObject({ deviceId: '*', kind: 'trust', seq: trustVersion });
    if (notice?.kind !== 'trust') throw new Error('a trust notice');
    expect(notice.body.anchors).toHaveLength(2);
    expect(notice.body.version).toBe(trustVersion);
    expect(token.length).toBeLessThan(16_384);
  });

  it('and by one of their own when they still lack some a while after they said so', async () => {
    const deviceId = await addDevice('press-1');
    const [before = ''] = anchorsNow();
    await prepare('root');
    await announceCa(deps, { actor: ACTOR });
    const reports = new TrustReports(deps);
    await reports.note(deviceId, [before]);
    await reports.turn();
    expect(await world.store.read.notices.listByDevice(deviceId, 5)).toEqual([]);
    deps.monotonic.at += 11_000;
    await reports.turn();
    expect(await world.store.read.notices.listByDevice(deviceId, 5)).toMatchObject([
      { kind: 'trust', state: 'outbox' },
    ]);
    // Said again, and told already.
    await reports.note(deviceId, [before]);
    deps.monotonic.at += 11_000;
    await reports.turn();
    expect(await world.store.read.notices.listByDevice(deviceId, 5)).toHaveLength(1);
    expect((await world.store.read.devices.find(deviceId))?.trustSeen).toBe(before);
  });

  it('and not again when they have said meanwhile that they use them', async () => {
    const deviceId = await addDevice('press-1');
    const before = anchorsNow();
    await prepare('root');
    await announceCa(deps, { actor: ACTOR });
    const reports = new TrustReports(deps);
    await reports.note(deviceId, before);
    await reports.note(deviceId, anchorsNow());
    deps.monotonic.at += 60_000;
    await reports.turn();
    expect(await world.store.read.notices.listByDevice(deviceId, 5)).toEqual([]);
    expect(await showRollover(deps)).toMatchObject({ withAnchors: 1 });
  });
});

it('devices are told of revocations in an order that rises over the activation of another CA', async () => {
  const leases = new WorkLeases(world, { holder: 'w-1' });
  const own = { ...world, authority, signer: deps.signer };
  const revocations = new RevocationPublisher({ ...own, leases });
  const publish = async () => {
    world.clock.at += 10_000;
    await revocations.publish();
  };
  const revoke = async (deviceId: DeviceId) => {
    const order = { deviceId, reason: 'superseded', actor: ACTOR, requestedAt: 0, becomes: 'revoked' } as const;
    await revokeDevice({ ...own, revocations }, order);
    await publish();
  };
  const [first, second] = [await addDevice('press-1'), await addDevice('press-2')];
  await publish();
  await prepare('intermediate');
  await announceCa(deps, { actor: ACTOR });
  await publish();
  await revoke(first);
  await activateCa(deps, { actor: ACTOR });
  await publish();
  await revoke(second);
  const told = toldOfRevocations();
  const places = told.map(({ crlNumber, seq }) => crlNumber * 1000 + seq);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(told.at(-1)?.entries).toHaveLength(2);
  expect(await revocations.isDue()).toBe(false);
});

it('the lists of one CA that cannot be signed keep those of the other from nobody, and from no device', async () => {
  const first = deps.trustBook.trust.active.keyId;
  await toActivated('intermediate');
  let isAway = true;
  const signCrl: SucceededAuthority['signCrl'] = async (order) => {
    if (isAway && order.issuerKeyId === first) throw new Error('its key cannot be read');
    return authority.signCrl(order);
  };
  const odd = new Proxy(authority, {
    get: (target, name) => (name === 'signCrl' ? signCrl : (Reflect.get(target, name) as () => unknown).bind(target)),
  });
  const leases = new WorkLeases(world, { holder: 'w-1' });
  const revocations = new RevocationPublisher({ ...world, authority: odd, signer: deps.signer, leases });
  await expect(revocations.publish()).rejects.toThrow(/cannot be read/);
  expect(revocations.lists.full).toBeDefined();
  // Whoever is not named would be taken off the devices.
  expect(toldOfRevocations().at(-1)?.issuers).toBeUndefined();
  isAway = false;
  world.clock.at += 10_000;
  await revocations.publish();
  expect(toldOfRevocations().at(-1)?.issuers).toHaveLength(2);
});

function toldOfRevocations() {
  return world.broker.fleet.flatMap(({ topic, token }) => {
    const notice = parseNotice(parseCompactJws(token).payload);
    return topic === FLEET_TOPICS.revocations && notice?.kind === 'revocations' ? [notice.body] : [];
  });
}
