import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import type { RevocationPublisher } from '#gateway/operations/publish-revocations.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';
import { succeedWorker } from '#gateway/succeed-worker.ts';
import { newSerial } from '#test/fixtures/ca/authority.ts';
import { LEASE_MS, openStatusWorld, type StatusWorld } from '#test/fixtures/gateway/status-world.ts';

let world: StatusWorld;
/** The same database file, as another process has it open. */
let otherStore: Awaited<ReturnType<typeof openSqliteStore>>;
let other: RevocationPublisher;

beforeEach(async () => {
  world = await openStatusWorld();
  otherStore = await openSqliteStore(join(world.folder, 'gateway.db'));
  other = world.publisherOf(otherStore, 'w-2');
});
afterEach(async () => {
  await otherStore.close();
  await world.close();
});

function serialsOn({ lists }: RevocationPublisher): string[] {
  return lists.full === undefined ? [] : [...parseCrl(lists.full.der).revoked.keys()];
}

it('of two gateways on a database one builds the lists, and the other gives out the same', async () => {
  await world.publish();
  await other.turn();
  expect(world.authority.signed).toHaveLength(1);
  const told: string[] = [];
  other.onChanged = async (changes) => void told.push(...changes.map(({ serial }) => serial));

  const serial = newSerial();
  await world.revokeMany([serial]);
  // The one without the lease is asked first: it knows of the change, and leaves the list to the other.
  world.clock.at += 1000;
  await other.turn();
  expect(told).toEqual([serial]);
  expect(world.authority.signed).toHaveLength(1);
  await world.publish();
  const { length } = world.authority.signed;
  await other.turn();
  expect(world.authority.signed).toHaveLength(length);
  expect(serialsOn(other)).toEqual([serial]);
  expect(other.lists.full).toEqual(world.publisher.lists.full);
  expect(await other.isDue()).toBe(false);
});

it('when the one that builds has died, the other goes on as soon as its lease has run out', async () => {
  await world.publish();
  await other.turn();
  const serial = newSerial();
  await world.revokeMany([serial]);
  world.clock.at += LEASE_MS - 2000;
  await other.turn();
  expect(serialsOn(other)).toEqual([]);
  world.clock.at += 3000;
  await other.turn();
  expect(serialsOn(other)).toEqual([serial]);
  expect(other.lists.full?.number).toBeGreaterThan(world.publisher.lists.full?.number ?? 0);
  // Back from a long pause, it neither builds nor gives out what is old.
  const { length } = world.authority.signed;
  await world.publisher.turn();
  expect(world.authority.signed).toHaveLength(length);
  expect(serialsOn(world.publisher)).toEqual([serial]);
});

it('both at the same moment sign each number once', async () => {
  await world.publish();
  await other.turn();
  for (let round = 0; round < 5; round += 1) {
    await world.revokeMany([newSerial()]);
    world.clock.at += 1000;
    await Promise.all([world.publisher.publish(), other.publish()]);
  }
  await Promise.all([world.publisher.turn(), other.turn()]);
  const full = world.authority.signed.filter(({ scope }) => scope?.kind === 'full').map(({ number }) => number);
  expect(new Set(full).size).toBe(full.length);
  expect(world.publisher.failure ?? other.failure).toBeUndefined();
  expect(serialsOn(other)).toHaveLength(5);
  expect(serialsOn(world.publisher)).toHaveLength(5);
});

it('a gateway that starts again after a kill on the same folder has its leases back at once', async () => {
  const { store, clock } = world;
  const file = join(world.folder, 'worker');
  const deps = { store, random: nodeRandomness };
  const first = await succeedWorker(deps, file);
  const acquire = (name: string, holder: string) =>
    store.write(({ leases }) => leases.acquire(name, holder, clock.at, clock.at + LEASE_MS));
  await acquire('status lists', first);
  await acquire('sweep', 'w-elsewhere');
  const second = await succeedWorker(deps, file);
  expect(second).not.toBe(first);
  expect(await acquire('status lists', second)).toBe(true);
  expect(await acquire('sweep', second)).toBe(false);
});
