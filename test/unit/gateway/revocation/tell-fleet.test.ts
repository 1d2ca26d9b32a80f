import { afterEach, beforeEach, expect, it } from 'vitest';
import { MAX_FLEET_NOTICE_BYTES, type RevocationsBody } from '#gateway/contract/notice.ts';
import { tellFleet } from '#gateway/operations/tell-fleet.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import { DAY, openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';
import { readToken } from '#test/fixtures/gateway/revocation-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

/** On the record as by so many revocations, the oldest first. @returns their serials */
async function revoke(count: number): Promise<string[]> {
  const now = world.clock.now();
  const serials = Array.from({ length: count }, () => nodeRandomness.serialNumber());
  await world.store.write(async (tables) => {
    for (const [index, serial] of serials.entries()) {
      const at = now - count * 1000 + index * 1000;
      const shared = { serial, reason: 'superseded', notAfter: now + DAY };
      await tables.revocations.insert({
        ...shared,
        deviceId: null,
        revokedAt: at,
        requestedBy: 'test',
        closedAfterMs: null,
      });
      await tables.statusChanges.append({ ...shared, issuerKeyId: 'aa', change: 'revoked', at });
    }
  });
  return serials;
}

async function tell(): Promise<{ body: RevocationsBody; token: string }> {
  await tellFleet(world, [
    { keyId: 'aa', number: 7 },
    { keyId: 'bb', number: 5 },
  ]);
  const { topic, token } = world.broker.fleet.at(-1) ?? { topic: '', token: '' };
  expect(topic).toBe('v1/fleet/revocations');
  const notice = readToken(token);
  if (notice.kind !== 'revocations') throw new Error('not of revocations');
  expect(notice).toMatchObject({ deviceId: '*', seq: 7 });
  return { body: notice.body, token };
}

it('holds everything in force while that fits, with where the CRL of each issuer is', async () => {
  const [older, newer] = await revoke(2);
  const { body } = await tell();
  expect(body).toMatchObject({ crlNumber: 7, seq: 2, full: true, since: 0, crlUrl: world.crlUrlOf('aa') });
  expect(body.issuers).toEqual([
    { keyId: 'aa', crlNumber: 7, crlUrl: world.crlUrlOf('aa') },
    { keyId: 'bb', crlNumber: 5, crlUrl: world.crlUrlOf('bb') },
  ]);
  expect(body.entries).toEqual([
    [newer, 4, expect.any(Number)],
    [older, 4, expect.any(Number)],
  ]);
});

const readRootCrls = async () => [{ keyId: 'cc', number: 3 }];

it('tells where the CRLs of the roots are, by which our CAs themselves are judged, after all others', async () => {
  const complete = [{ keyId: 'aa', number: 7 }];
  await tellFleet({ ...world, readRootCrls }, complete);
  const notice = readToken(world.broker.fleet.at(-1)?.token ?? '');
  expect(notice.body).toMatchObject({
    crlNumber: 7,
    crlUrl: world.crlUrlOf('aa'),
    issuers: [
      { keyId: 'aa', crlNumber: 7 },
      { keyId: 'cc', crlNumber: 3, crlUrl: world.crlUrlOf('cc') },
    ],
  });
  // Without a list of what devices have there is nothing to tell: the first one named is taken for that.
  await tellFleet({ ...world, readRootCrls }, []);
  expect(world.broker.fleet).toHaveLength(1);
});

it('holds the newest changes that fit when there are too many, and says which came before', async () => {
  const serials = await revoke(1500);
  const { body, token } = await tell();
  expect(token.length).toBeLessThanOrEqual(MAX_FLEET_NOTICE_BYTES);
  expect(token.length).toBeGreaterThan(MAX_FLEET_NOTICE_BYTES - 300);
  expect(body).toMatchObject({ full: false, seq: 1500, since: 1500 - body.entries.length });
  expect(body.entries.map(([serial]) => serial)).toEqual(serials.slice(-body.entries.length).toReversed());
});

it('is a list of changes, too, when all in force are few enough to be read but do not fit', async () => {
  await revoke(900);
  const { body, token } = await tell();
  expect(token.length).toBeLessThanOrEqual(MAX_FLEET_NOTICE_BYTES);
  expect(body.full).toBe(false);
  expect(body.since).toBe(900 - body.entries.length);
});

it('a release takes a serial off a full list, and is told as removeFromCRL among changes', async () => {
  const serials = await revoke(1500);
  const released = serials.at(-1) ?? '';
  const now = world.clock.now();
  const change = { issuerKeyId: 'aa', change: 'released', reason: 'certificateHold', at: now, notAfter: now } as const;
  await world.store.write(async (tables) => {
    await tables.revocations.remove(released as never);
    await tables.statusChanges.append({ ...change, serial: released as never });
  });
  const { body } = await tell();
  expect(body.entries[0]).toEqual([released, 8, Math.floor(now / 1000)]);
  // Newest first: what is said of a serial first is what counts.
  expect(body.entries[1]).toEqual([released, 4, expect.any(Number)]);
});

it('forgets what has expired', async () => {
  await revoke(3);
  world.clock.at += 2 * DAY;
  expect((await tell()).body).toMatchObject({ full: true, entries: [], seq: 3 });
});
