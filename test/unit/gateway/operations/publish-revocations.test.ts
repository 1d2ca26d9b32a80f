import { copyFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import { checkHealth } from '#gateway/operations/check-health.ts';
import { newSerial } from '#test/fixtures/ca/authority.ts';
import { makeIntermediate } from '#test/fixtures/ca/certificates.ts';
import { makeCrl } from '#test/fixtures/device-agent/make-crl.ts';
import { DAY, openStatusWorld, type StatusWorld } from '#test/fixtures/gateway/status-world.ts';

let world: StatusWorld;
const MINUTE = 60_000;

afterEach(() => world.close());

function listed(): string[] {
  const { full } = world.publisher.lists;
  return full === undefined ? [] : [...parseCrl(full.der).revoked.keys()].toSorted();
}

function sorted(serials: readonly SerialNumber[]): string[] {
  return serials.toSorted();
}

function serials(count: number): SerialNumber[] {
  return Array.from({ length: count }, () => newSerial());
}

describe('the complete list', () => {
  beforeEach(async () => {
    world = await openStatusWorld();
  });

  it('is made from what is new, in the order of serials, and says the same as one made from everything', async () => {
    const all = serials(3000);
    await world.revokeMany(all.slice(0, 2500));
    await world.publish();
    expect(listed()).toEqual(sorted(all.slice(0, 2500)));
    for (const at of [2500, 2501, 2700]) {
      await world.revokeMany(all.slice(at, at === 2500 ? 2501 : at === 2501 ? 2700 : 3000));
      await world.publish();
    }
    const incremental = world.publisher.lists.full;
    const [order] = world.authority.signed.toReversed();
    expect(listed()).toEqual(sorted(all));
    expect(incremental?.entries).toBe(3000);
    await world.restart();
    await world.publish();
    // Nothing was due: the list of before the restart is in force, and what a new one would hold is the same.
    world.clock.at += DAY / 4;
    await world.publish();
    expect(world.authority.signed.at(-1)?.entries.equals(order?.entries ?? Buffer.alloc(0))).toBe(true);
  });

  it('reads no change twice', async () => {
    await world.revokeMany(serials(100));
    await world.publish();
    const seen: number[] = [];
    const { statusChanges } = world.store.read;
    const listAfter = statusChanges.listAfter.bind(statusChanges);
    statusChanges.listAfter = (seq, limit) => {
      seen.push(seq);
      return listAfter(seq, limit);
    };
    await world.revokeMany(serials(1));
    await world.publish();
    expect(seen).toEqual([100]);
    expect(listed()).toHaveLength(101);
  });

  it('keeps an entry until a list made after the end of its certificate has had it', async () => {
    const [soon = newSerial(), later = newSerial()] = serials(2);
    await world.revokeMany([soon], world.clock.at + 10 * MINUTE);
    await world.revokeMany([later]);
    await world.publish();
    world.clock.at += 11 * MINUTE;
    // Old enough only by force: the next list still has it.
    await world.revokeMany(serials(1));
    await world.publish();
    expect(listed()).toContain(soon);
    await world.revokeMany(serials(1));
    await world.publish();
    expect(listed()).not.toContain(soon);
    expect(listed()).toContain(later);
  });

  it('is not made again when nothing changed, and in time when it gets old', async () => {
    await world.publish();
    await world.publish();
    expect(world.authority.signed).toHaveLength(1);
    expect(await world.publisher.isDue()).toBe(false);
    world.clock.at += DAY / 8;
    expect(await world.publisher.isDue()).toBe(true);
    await world.publish();
    expect(world.publisher.lists.full?.number).toBe(2);
  });

  it('does not list what says itself that there is no status of it', async () => {
    const { serial } = await world.issue('short-1', { lifetimeSeconds: 3600, noRevAvail: true });
    const { serial: other } = await world.issue('long-1');
    await world.revoke(serial);
    await world.revoke(other);
    await world.publish();
    expect(listed()).toEqual([other]);
    expect((await world.find(serial)).state).toBe('revoked');
  });

  it('loses what is released from a hold', async () => {
    const { serial } = await world.issue();
    await world.revoke(serial, 'certificateHold');
    await world.publish();
    expect(parseCrl(world.publisher.lists.full?.der ?? Buffer.alloc(0)).revoked.get(serial)?.reason).toBe(
      'certificateHold',
    );
    await world.release(serial);
    await world.publish();
    expect(listed()).toEqual([]);
  });

  it('of before a failing build stays in force, and health, counter and publisher say so', async () => {
    const health = () =>
      checkHealth({ ...world, revocations: world.publisher, ownCertificates: () => [] }).then((checks) =>
        checks.find(({ name }) => name === 'crl'),
      );
    await world.publish();
    expect(await health()).toMatchObject({ ok: true });
    world.authority.fails = () => true;
    const [serial = newSerial()] = serials(1);
    await world.revokeMany([serial]);
    await expect(world.publish()).rejects.toThrow(/disk of the authority/);
    expect(world.publisher.lists.full?.number).toBe(1);
    expect(world.publisher.failure).toMatchObject({ error: expect.stringContaining('disk') });
    expect(await world.publisher.isDue()).toBe(true);
    // Not at the first failure: the next attempt comes in two seconds.
    expect(await health()).toMatchObject({ ok: true });
    world.clock.at += MINUTE;
    expect(await health()).toMatchObject({ ok: false, detail: expect.stringContaining('could not be replaced') });
    expect(await world.metrics.text()).toMatch(/^gatehouse_crl_failures_total 1$/m);
    world.authority.fails = () => false;
    await world.publish();
    expect(listed()).toEqual([serial]);
    expect(world.publisher.failure).toBeUndefined();
    expect(await health()).toMatchObject({ ok: true });
  });

  it('is missed by health when less than a quarter of its life is left', async () => {
    await world.publish();
    world.clock.at += (DAY * 3) / 4 + 1000;
    const checks = await checkHealth({ ...world, revocations: world.publisher, ownCertificates: () => [] });
    expect(checks.find(({ name }) => name === 'crl')).toMatchObject({ ok: false });
  });

  it('is in force again at once after a restart, also while no new one can be signed', async () => {
    const all = serials(5);
    await world.revokeMany(all);
    await world.publish();
    const before = world.publisher.lists.full?.der;
    await world.restart();
    world.authority.fails = () => true;
    world.clock.at += DAY / 4;
    await expect(world.publish()).rejects.toThrow(/disk/);
    expect(world.publisher.lists.full?.der.equals(before ?? Buffer.alloc(0))).toBe(true);
  });

  it('that a power cut has spoilt is not given out: a new one is made', async () => {
    await world.revokeMany(serials(5));
    await world.publish();
    const [name = ''] = await readdir(join(world.folder, 'crl'));
    const der = world.publisher.lists.full?.der ?? Buffer.alloc(0);
    for (const spoilt of [der.subarray(0, 100), Buffer.alloc(der.length), Buffer.alloc(0)]) {
      await writeFile(join(world.folder, 'crl', name), spoilt);
      await world.restart();
      await world.publish();
      expect(listed()).toHaveLength(5);
    }
    expect(world.publisher.lists.full?.number).toBe(4);
  });

  it('has numbers that only rise, also after a restore from an older backup', async () => {
    await world.publish();
    const backup = join(world.folder, 'backup.db');
    await world.store.close();
    await copyFile(join(world.folder, 'gateway.db'), backup);
    await world.restart();
    for (let i = 0; i < 3; i += 1) {
      await world.revokeMany(serials(1));
      await world.publish();
    }
    expect(world.publisher.lists.full?.number).toBe(4);
    await world.restart(backup);
    await world.revokeMany(serials(1));
    await world.publish();
    expect(world.publisher.lists.full?.number).toBe(5);
    expect(world.publisher.lists.findNamed('delta')?.number).toBe(5);
  });

  it('of an older version is in force until the first new one, whose number is higher', async () => {
    const { authority, clock, store } = world;
    const times = { thisUpdate: clock.at, nextUpdate: clock.at + DAY };
    const der = await authority.signCrl({ number: 41, ...times, entries: Buffer.alloc(0) });
    await store.write(({ crls }) => crls.insert({ number: 41, ...times, entries: 0, der }));
    await world.publish();
    expect(world.publisher.lists.full?.number).toBe(41);
    await world.revokeMany(serials(1));
    await world.publish();
    expect(world.publisher.lists.full?.number).toBe(42);
    expect(listed()).toHaveLength(1);
  });

  it('drops changes from the table that no list needs any more, and never the newest', async () => {
    await world.revokeMany(serials(50), world.clock.at + MINUTE);
    await world.publish();
    world.clock.at += 2 * DAY;
    for (let i = 0; i < 3; i += 1) {
      await world.revokeMany(serials(1), world.clock.at + MINUTE);
      await world.publish();
      world.clock.at += 2 * DAY;
    }
    await world.publish();
    await world.publish();
    const left = await world.store.read.statusChanges.listAfter(0, 1000);
    expect(left.length).toBeLessThan(5);
    expect(await world.store.read.statusChanges.newestSeq()).toBe(53);
  });
});

it('tells the fleet again when a person has signed a list of the root, without signing any', async () => {
  const rootLists: { keyId: string; number: number }[] = [];
  world = await openStatusWorld({}, { readRootCrls: async () => rootLists });
  await world.publish();
  expect(await world.publisher.isDue()).toBe(false);
  rootLists.push({ keyId: 'cc', number: 4 });
  expect(await world.publisher.isDue()).toBe(true);
  const told = world.broker.fleet.length;
  world.clock.at += 5000;
  await world.publisher.turn();
  expect(world.broker.fleet).toHaveLength(told + 1);
  expect(world.authority.signed).toHaveLength(1);
  expect(await world.publisher.isDue()).toBe(false);
});

describe('a clock that was ahead for a while', () => {
  beforeEach(async () => {
    world = await openStatusWorld();
  });

  it.each(['in one run', 'over a restart', 'that was found out at a restart'])(
    'does not take off the list what is revoked and has not expired, %s',
    async (how) => {
      const { serial } = await world.issue('pump-1', { lifetimeSeconds: 7 * 24 * 3600 });
      const { serial: released } = await world.issue('pump-2', { lifetimeSeconds: 7 * 24 * 3600 });
      await world.revoke(serial);
      await world.revoke(released, 'certificateHold');
      await world.publish();
      await world.release(released);
      world.clock.at += 8 * DAY;
      for (let i = 0; i < 3; i += 1) {
        await world.revokeMany(serials(1));
        await world.publish();
      }
      expect(listed()).not.toContain(serial);
      if (how === 'that was found out at a restart') await world.restart();
      world.clock.at -= 8 * DAY - MINUTE;
      await world.publish();
      if (how === 'over a restart') {
        await world.restart();
        world.clock.at += DAY / 4;
        await world.publish();
      }
      expect(listed()).toContain(serial);
      expect(listed()).not.toContain(released);
      world.clock.at += 8 * DAY;
      await world.publish();
      world.clock.at += DAY / 4;
      await world.publish();
      expect(listed()).not.toContain(serial);
    },
  );
});

it('a list of an issuer whose certificate has ended is served as it is, and is no reason to publish', async () => {
  world = await openStatusWorld();
  await world.revokeMany(serials(1));
  await world.publish();
  const { describe: before } = world.authority;
  const old = world.intermediate.certificate;
  const next = makeIntermediate(world.root, { name: 'next', notBefore: old.notBefore, notAfter: old.notAfter + DAY });
  world.clock.at = old.notAfter + 1000;
  world.authority.describe = async () => ({
    ...(await before()),
    intermediateCertificate: next.certificate.der,
    issuers: [old, next.certificate].map((certificate) => ({
      keyId: certificate.subjectKeyId ?? '',
      certificate: certificate.der,
      root: world.root.certificate.der,
      crossCertificates: [],
      isActive: certificate !== old,
    })),
  });
  // The authority of this world has no key of the next one.
  world.authority.signCrl = async (order) => makeCrl({ ...order, by: next, serials: [] });
  await world.publish();
  expect(world.publisher.lists.full?.scope).toBe(`full@${next.certificate.subjectKeyId}`);
  expect(world.publisher.lists.findNamed('full', old.subjectKeyId)?.number).toBe(1);
  expect(await world.publisher.isDue()).toBe(false);
});

describe('the delta list', () => {
  beforeEach(async () => {
    world = await openStatusWorld();
  });

  it('follows the second complete list, has its number, and what changed since the first', async () => {
    const { serial: held } = await world.issue('held-1');
    const { serial: dead } = await world.issue('dead-1');
    await world.revoke(held, 'certificateHold');
    await world.publish();
    expect(world.publisher.lists.findNamed('delta')).toBeUndefined();
    await world.revoke(dead);
    await world.release(held);
    await world.publish();
    const { full } = world.publisher.lists;
    const delta = world.publisher.lists.findNamed('delta');
    expect(delta).toMatchObject({ number: full?.number, baseNumber: 1, entries: 2, thisUpdate: full?.thisUpdate });
    const order = world.authority.signed.find(({ scope }) => scope?.kind === 'delta');
    // RFC 5280 5.2.6: named by the complete list once there is one, not before.
    const complete = world.authority.signed.filter(({ scope }) => scope?.kind === 'full').map(({ scope }) => scope);
    expect(complete).toEqual([{ kind: 'full' }, { kind: 'full', hasDelta: true }]);
    // removeFromCRL, RFC 5280 5.3.1.
    expect(order?.entries.includes(Buffer.from('0a0108', 'hex'))).toBe(true);
  });

  it('goes on from the same base after a restart', async () => {
    await world.publish();
    await world.revokeMany(serials(2));
    await world.publish();
    await world.restart();
    await world.revokeMany(serials(1));
    await world.publish();
    expect(world.publisher.lists.findNamed('delta')).toMatchObject({ number: 3, baseNumber: 1, entries: 3 });
  });

  it('gets a new base when nobody can hold a list as old as the last, or when it gets long', async () => {
    await world.publish();
    world.clock.at += 2 * DAY;
    await world.publish();
    await world.publish();
    await world.revokeMany(serials(1));
    await world.publish();
    expect(world.publisher.lists.findNamed('delta')).toMatchObject({ number: 3, baseNumber: 2, entries: 1 });
    await world.revokeMany(serials(10_001));
    await world.publish();
    await world.revokeMany(serials(1));
    await world.publish();
    expect(world.publisher.lists.findNamed('delta')).toMatchObject({ number: 5, baseNumber: 4, entries: 1 });
  });
});

it('a delta list that got too long is gone, over a restart too, and has nobody look for lists to be made again and again', async () => {
  world = await openStatusWorld();
  await world.publish();
  await world.revokeMany(serials(1));
  await world.publish();
  expect(world.publisher.lists.findNamed('delta')).toBeDefined();
  world.clock.at += DAY / 16;
  await world.revokeMany(serials(10_001));
  await world.publish();
  world.clock.at += DAY / 16 + 1000;
  expect(world.publisher.lists.findNamed('delta')).toBeUndefined();
  expect(await world.publisher.isDue()).toBe(false);
  await world.restart();
  await world.publish();
  expect(world.publisher.lists.findNamed('delta')).toBeUndefined();
  expect(await world.publisher.isDue()).toBe(false);
  world.clock.at += DAY / 16;
  expect(await world.publisher.isDue()).toBe(true);
});

describe('shards', () => {
  beforeEach(async () => {
    world = await openStatusWorld({ crlShards: 4 });
  });

  it('hold together what the complete list holds, and only the one with something new is made again', async () => {
    const all = serials(200);
    await world.revokeMany(all);
    await world.publish();
    const { lists } = world.publisher;
    const counts = [0, 1, 2, 3].map((index) => lists.findNamed(`shard-4-${index}`)?.entries ?? Number.NaN);
    expect(counts.every((count) => count > 20)).toBe(true);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(200);
    expect(lists.full?.entries).toBe(200);
    const before = world.authority.signed.length;
    const [serial = newSerial()] = serials(1);
    await world.revokeMany([serial]);
    await world.publish();
    const index = Number.parseInt(serial.slice(-8), 16) % 4;
    expect(world.authority.signed.slice(before).map(({ scope }) => scope)).toEqual([
      { kind: 'delta', baseNumber: 1 },
      { kind: 'full', hasDelta: true },
      { kind: 'shard', index, count: 4 },
    ]);
  });

  it('of a number that is not in use any more are made as long as a certificate may name them', async () => {
    const [first = newSerial(), second = newSerial()] = serials(2);
    await world.revokeMany([first]);
    await world.publish();
    const { describe: before } = world.authority;
    world.authority.describe = async () => ({ ...(await before()), crlShards: 8 });
    await world.restart();
    await world.revokeMany([second]);
    await world.publish();
    const { lists } = world.publisher;
    const shard = (serial: string, count: number) =>
      lists.findNamed(`shard-${count}-${Number.parseInt(serial.slice(-8), 16) % count}`)?.der;
    for (const [serial, count] of [
      [first, 4],
      [second, 4],
      [first, 8],
      [second, 8],
    ] as const)
      expect(shard(serial, count)?.includes(Buffer.from(serial, 'hex')), `${serial} of ${count}`).toBe(true);
    world.clock.at += 401 * DAY;
    await world.restart();
    const signed = world.authority.signed.length;
    await world.publish();
    const counts = world.authority.signed.slice(signed).map(({ scope }) => (scope?.kind === 'shard' ? scope.count : 0));
    expect(new Set(counts)).toEqual(new Set([0, 8]));
  });

  it('are made again at once when the status server has moved, and go on naming where it was', async () => {
    await world.revokeMany(serials(20));
    await world.publish();
    const before = await world.issue('pump-1');
    await world.moveStatus('http://moved.example');
    const after = await world.issue('pump-2');
    await world.restart();
    const signed = world.authority.signed.length;
    await world.publish();
    const scopes = world.authority.signed.slice(signed).map(({ scope }) => scope);
    expect(scopes).toEqual([0, 1, 2, 3].map((index) => ({ kind: 'shard', index, count: 4 })));
    for (const { serial, der } of [before, after]) {
      const [url = ''] = /http:\/\/[\w.:]+\/crl\/shard[\w-]+\.crl/.exec(der.toString('latin1')) ?? [];
      const list = world.publisher.lists.findNamed(`shard-4-${Number.parseInt(serial.slice(-8), 16) % 4}`);
      expect(list?.der.includes(Buffer.from(url)), url).toBe(true);
    }
    expect(await world.publisher.isDue()).toBe(false);
    await world.publish();
    expect(world.authority.signed).toHaveLength(signed + 4);
  });

  it('that cannot be signed leaves the others in force', async () => {
    await world.revokeMany(serials(100));
    world.authority.fails = ({ scope }) => scope?.kind === 'shard' && scope.index === 2;
    await expect(world.publish()).rejects.toThrow(/disk/);
    const { lists } = world.publisher;
    expect([0, 1, 2, 3].map((index) => lists.findNamed(`shard-4-${index}`) !== undefined)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(lists.full?.entries).toBe(100);
    world.authority.fails = () => false;
    await world.publish();
    expect(lists.findNamed('shard-4-3')).toBeDefined();
    // What was good was not made again.
    expect(lists.full?.number).toBe(1);
  });
});
