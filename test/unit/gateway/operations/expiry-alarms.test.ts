import { afterEach, beforeEach, expect, it } from 'vitest';
import { CaTrustBook } from '#gateway/operations/ca-trust-book.ts';
import { checkExpiry, type OwnCertificate } from '#gateway/operations/check-expiry.ts';
import { keepExpiryAlarms } from '#gateway/operations/keep-expiry-alarms.ts';
import { newGroup } from '#test/fixtures/gateway/makers.ts';
import { DAY, openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let trustBook: CaTrustBook;
let rootCrl: { keyId: string; nextUpdate: number };
let others: { keyId: string; nextUpdate: number }[];
let own: OwnCertificate[];

beforeEach(async () => {
  world = await openWorld();
  trustBook = new CaTrustBook(world);
  await trustBook.load();
  rootCrl = { keyId: trustBook.trust.active.root.subjectKeyId ?? '', nextUpdate: world.clock.at + 400 * DAY };
  others = [];
  own = [];
});
afterEach(() => world.close());

const deps = () => ({
  ...world,
  trustBook,
  readRootCrls: async () => [rootCrl, ...others],
  ownCertificates: () => own,
});

async function wrong(): Promise<string[]> {
  return (await checkExpiry(deps())).flatMap(({ ok, name, advice }) => (ok ? [] : [`${name}: ${advice ?? ''}`]));
}

async function audited(): Promise<string[]> {
  const events = await world.store.read.audit.list({ limit: 50 });
  return events
    .filter(({ action }) => action.startsWith('alarm.'))
    .map(({ action, subject }) => `${action} ${subject}`);
}

it('says nothing while everything lasts', async () => {
  expect(await wrong()).toEqual([]);
  await keepExpiryAlarms(deps());
  expect(await audited()).toEqual([]);
});

it('says 60 days ahead that the root has to sign its CRL again, and by which command', async () => {
  world.clock.at = rootCrl.nextUpdate - 61 * DAY;
  expect(await wrong()).toEqual([]);
  world.clock.at = rootCrl.nextUpdate - 60 * DAY;
  expect(await wrong()).toEqual([expect.stringMatching(/^root CRL: .*gatehouse ca crl --root-key-file/)]);
});

it('says so of a root that was replaced and is still trusted, too', async () => {
  others = [{ keyId: 'ab'.repeat(20), nextUpdate: world.clock.at + 59 * DAY }];
  expect(await wrong()).toEqual([
    expect.stringMatching(/^CRL of root abababab: .*gatehouse ca crl --root-key-id abababab --root-key-file/),
  ]);
});

it('says 90 days before its end would shorten a certificate that the CA in use ends, and how the next one is made', async () => {
  const { root, certificate } = trustBook.trust.active;
  const at = async (moment: number) => {
    world.clock.at = moment;
    rootCrl.nextUpdate = moment + 400 * DAY;
    return wrong();
  };
  // Certificates of the one group there is live for seven days.
  expect(await at(certificate.notAfter - 98 * DAY)).toEqual([]);
  const day = new Date(certificate.notAfter - 7 * DAY).toISOString().slice(0, 10);
  expect(await at(certificate.notAfter - 96 * DAY)).toEqual([
    expect.stringMatching(/^issuing certificate in use: .*gatehouse ca rollover prepare; what is certified from /),
  ]);
  expect(await wrong()).toEqual([expect.stringContaining(`from ${day} on`)]);
  expect(await at(root.notAfter - 96 * DAY)).toContainEqual(
    expect.stringMatching(/^root certificate in use: .*prepare --root;/),
  );
});

it('says so earlier where a group has certificates of longer lives', async () => {
  const { certificate } = trustBook.trust.active;
  world.clock.at = certificate.notAfter - 400 * DAY;
  rootCrl.nextUpdate = world.clock.at + 400 * DAY;
  expect(await wrong()).toEqual([]);
  await newGroup(world, 'tanks', { lifetimeSeconds: 365 * 24 * 3600 });
  expect(await wrong()).toEqual([expect.stringMatching(/^issuing certificate in use: /)]);
});

it('says that the OCSP responder has not been replaced when a quarter of its life is left', async () => {
  const { at } = world.clock;
  own = [{ name: 'ocsp 12345678', notBefore: at, notAfter: at + 8 * DAY }];
  world.clock.at = at + 6 * DAY - 1;
  expect(await wrong()).toEqual([]);
  world.clock.at = at + 6 * DAY;
  expect(await wrong()).toEqual([expect.stringContaining('life of certificate ocsp 12345678')]);
});

it('raises each alarm once, over restarts, and closes it when there is a new one', async () => {
  rootCrl.nextUpdate = world.clock.at + 10 * DAY;
  await keepExpiryAlarms(deps());
  await keepExpiryAlarms(deps());
  await world.restart();
  await keepExpiryAlarms(deps());
  expect(await audited()).toEqual(['alarm.raised root CRL']);
  expect(world.log.lines.filter(({ level, message }) => level === 'error' && message === 'ends soon')).toHaveLength(1);
  rootCrl.nextUpdate = world.clock.at + 400 * DAY;
  await keepExpiryAlarms(deps());
  expect(await audited()).toEqual(['alarm.resolved root CRL', 'alarm.raised root CRL']);
});
