import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { DenySet } from '#gateway/domain/deny-set.ts';
import { admitSession, isStillAdmitted } from '#gateway/operations/admit-session.ts';
import { followQuarantine, followStatusChanges } from '#gateway/operations/follow-other-processes.ts';
import { holdDevice, releaseDevice } from '#gateway/operations/hold-device.ts';
import { RevocationPublisher } from '#gateway/operations/publish-revocations.ts';
import { quarantineDevice } from '#gateway/operations/quarantine-device.ts';
import { releaseQuarantine } from '#gateway/operations/release-quarantine.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { WorkLeases } from '#gateway/operations/work-leases.ts';
import { recover } from '#gateway/recover.ts';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';
import { FakeBroker } from '#test/fakes/fake-broker.ts';
import { openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';
import { addMember, goOnline, type Member } from '#test/fixtures/gateway/revocation-world.ts';

const press = parseDeviceId('press-07');

let world: World;
let member: Member;
/** The same database, as another process has it: what is in memory is its own. */
let other: World;
beforeEach(async () => {
  world = await openWorld();
  member = await addMember(world, 'press-07');
  const store = await openSqliteStore(join(world.folder, 'gateway.db'));
  const leases = new WorkLeases({ store, clock: world.clock, log: world.log }, { holder: 'w-2' });
  const own = { store, denySet: new DenySet(), quarantined: new Set<typeof press>(), broker: new FakeBroker() };
  other = { ...world, ...own };
  other.revocations = new RevocationPublisher({ ...other, leases });
  other.revocations.onChanged = (changes) => followStatusChanges(other, changes);
  await world.revocations.publish();
  await other.revocations.publish();
});
afterEach(async () => {
  await other.store.close();
  await world.close();
});

const connect = (on: World) =>
  admitSession(on, {
    der: member.der,
    chain: () => [],
    hasExpired: false,
    clientId: 'press-07',
    keepalive: 60,
    address: '127.0.0.1',
  });
const revoke = (on: World) =>
  revokeDevice(on, { deviceId: press, reason: 'keyCompromise', actor: 'ann', becomes: 'revoked', requestedAt: 0 });

const quarantine = () => quarantineDevice(world, { deviceId: press, reason: 'test', actor: 'ann' });

describe('what one process has revoked', () => {
  it('is refused at once by another, which has not heard of it', async () => {
    await connect(other);
    await revoke(world);
    await expect(connect(other)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  });

  it('loses its session in another at its next look', async () => {
    goOnline(other, member);
    await revoke(world);
    world.clock.at += 2000;
    await other.revocations.turn();
    expect(other.broker.sessions()).toEqual([]);
    expect(isStillAdmitted(other, member.serial)).toBe(false);
  });

  it('is refused after a restart by the deny set alone', async () => {
    await revoke(world);
    await world.restart();
    world.denySet = new DenySet();
    await recover(world);
    expect(isStillAdmitted(world, member.serial)).toBe(false);
  });

  it('and released from a hold comes in again everywhere', async () => {
    await holdDevice(world, { deviceId: press, why: 'lost', actor: 'ann', requestedAt: 0 });
    world.clock.at += 2000;
    await other.revocations.turn();
    await expect(connect(other)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    await releaseDevice(world, { deviceId: press, actor: 'ann' });
    world.clock.at += 2000;
    await other.revocations.turn();
    await connect(other);
  });
});

describe('a quarantine by one process', () => {
  it('limits a session that comes in at another', async () => {
    await quarantine();
    await connect(other);
    expect(other.quarantined.has(press)).toBe(true);
  });

  it('limits the session that another has, at its next look, until it is released', async () => {
    goOnline(other, member);
    await quarantine();
    await followQuarantine(other);
    expect([...other.broker.quarantined]).toEqual([press]);
    await releaseQuarantine(world, { deviceId: press, decision: 'no copy', actor: 'ann' });
    await followQuarantine(other);
    expect([...other.broker.quarantined]).toEqual([]);
    expect(other.quarantined.size).toBe(0);
  });

  it('is there from the start after a restart', async () => {
    await quarantine();
    await world.restart();
    world.quarantined = new Set();
    await recover(world);
    expect([...world.quarantined]).toEqual([press]);
  });
});
