import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { DenySet } from '#gateway/domain/deny-set.ts';
import { supersedeOlder } from '#gateway/operations/activate-certificate.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { holdDevice, releaseDevice } from '#gateway/operations/hold-device.ts';
import { quarantineDevice } from '#gateway/operations/quarantine-device.ts';
import { keepJournalPosition } from '#gateway/operations/reconcile-restored.ts';
import { releaseQuarantine } from '#gateway/operations/release-quarantine.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { recover } from '#gateway/recover.ts';
import {
  connectDevice,
  enroll,
  HOUR,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';
import { addMember, type Member, renew } from '#test/fixtures/gateway/revocation-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const database = () => join(world.folder, 'gateway.db');
const backup = () => `${database()}.backup`;

/** As `sqlite3 .backup` or a stopped gateway's copy: everything that is committed. */
async function takeBackup(): Promise<void> {
  await world.revocations.publish();
  await keepJournalPosition(world);
  await world.restart(() => copyFile(database(), backup()));
}

/** The authority goes on as it is; the gateway starts on the copy. */
async function restore(): Promise<boolean> {
  await world.restart(async () => {
    for (const suffix of ['', '-wal', '-shm']) await rm(database() + suffix, { force: true });
    await copyFile(backup(), database());
  });
  // As in another process: nothing is known but what the store holds.
  world.denySet = new DenySet();
  return recover(world);
}

/** Renewed and in use: the one before is over, and was not asked for a moment ago. */
async function renewed(member: Member): Promise<Member> {
  world.clock.at += 2 * HOUR;
  const next = await renew(world, member);
  await connectDevice(world, next.der, next.deviceId);
  await supersedeOlder(world, next.serial);
  return next;
}

const refused = (member: Member) => connectDevice(world, member.der, member.deviceId);
const revoke = (deviceId: string) =>
  revokeDevice(world, {
    deviceId: parseDeviceId(deviceId),
    reason: 'keyCompromise',
    actor: 'ann',
    becomes: 'revoked',
    requestedAt: 0,
  });
const restored = async () =>
  (await world.store.read.audit.list({ limit: 9, action: 'store.restored' })).map((e) => e.detail);

describe('a store that was restored from a copy of before', () => {
  it('learns the certificates since: the newest is let in, the ones before the last two are not', async () => {
    const first = await addMember(world, 'press-1');
    await takeBackup();
    const second = await renewed(first);
    const third = await renewed(second);
    const fourth = await renewed(third);
    expect(await restore()).toBe(true);
    await expect(refused(first)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    await expect(refused(second)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    await connectDevice(world, fourth.der, 'press-1');
    await supersedeOlder(world, fourth.serial);
    await expect(refused(third)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    // It renews again as ever, and all of it is one lineage.
    const fifth = await renewed(fourth);
    expect(await world.store.read.certificates.listByLineage(first.serial)).toHaveLength(5);
    await connectDevice(world, fifth.der, 'press-1');
    expect(await world.store.read.audit.list({ limit: 9, action: 'certificate.recovered' })).toHaveLength(3);
    expect(await restored()).toEqual([
      '3 certificates recovered from the journal, 0 left out, 0 revocations taken over',
    ]);
  });

  it('lets in the certificate before the last one, when the device never got the last', async () => {
    const first = await addMember(world, 'press-1');
    await takeBackup();
    const second = await renewed(first);
    world.clock.at += 60_000;
    await renew(world, second);
    await restore();
    await connectDevice(world, second.der, 'press-1');
    await connectDevice(world, (await renew(world, second)).der, 'press-1');
  });

  it.each([
    ['twice within the time in which an unused one stands', HOUR / 2],
    ['again after an unused one had lapsed', 3 * HOUR],
  ])('keeps in use what a device asked with %s', async (_, pause) => {
    const first = await addMember(world, 'press-1');
    await takeBackup();
    const second = await renewed(first);
    world.clock.at += 2 * HOUR;
    const lost = await renew(world, second);
    world.clock.at += pause;
    await sweep(world);
    const newest = await renew(world, second);
    world.clock.at += 5_000;
    await world.revocations.publish();
    await restore();
    await connectDevice(world, second.der, 'press-1');
    await expect(refused(first)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    if (pause > HOUR) await expect(refused(lost)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    await connectDevice(world, newest.der, 'press-1');
    await supersedeOlder(world, newest.serial);
    for (const one of [second, lost]) await expect(refused(one)).rejects.toMatchObject({ name: 'GatewayError' });
  });

  it('takes over what was revoked since, with tickets, and keeps it on the lists', async () => {
    const gone = await addMember(world, 'press-1');
    const held = await addMember(world, 'press-2');
    const ticket = await register(world, 'press-3');
    const unused = await enroll(world, 'press-3', ticket);
    await takeBackup();
    const goneNow = await renewed(gone);
    await revoke('press-1');
    await revoke('press-3');
    await holdDevice(world, { deviceId: parseDeviceId('press-2'), why: 'lost', actor: 'ann', requestedAt: 0 });
    world.clock.at += 5_000;
    await world.revocations.publish();
    const listed = world.revocations.lists.full?.entries;
    await restore();
    for (const member of [gone, goneNow, held]) {
      await expect(refused(member)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
      expect(world.denySet.has(member.serial)).toBe(true);
    }
    const stateOf = async (id: string) => (await world.store.read.devices.find(parseDeviceId(id)))?.state;
    expect([await stateOf('press-1'), await stateOf('press-2')]).toEqual(['revoked', 'held']);
    await expect(connectDevice(world, unused.der, 'press-3')).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    await expect(enroll(world, 'press-3', ticket)).rejects.toMatchObject({ code: 'TICKET_REVOKED' });
    world.clock.at += 60_000;
    await world.revocations.publish();
    expect(world.revocations.lists.full?.entries).toBe(listed);
    expect(await restored()).toEqual([
      '1 certificates recovered from the journal, 0 left out, 4 revocations taken over',
    ]);
  });

  it('has on hold, and can release, a device that was in quarantine at the time of the backup', async () => {
    const member = await addMember(world, 'press-1');
    const deviceId = parseDeviceId('press-1');
    await quarantineDevice(world, { deviceId, reason: 'odd', actor: 'ann' });
    await takeBackup();
    await releaseQuarantine(world, { deviceId, decision: 'it was the only one', actor: 'ann' });
    await holdDevice(world, { deviceId, why: 'lost', actor: 'ann', requestedAt: 0 });
    world.clock.at += 5_000;
    await world.revocations.publish();
    await restore();
    expect((await world.store.read.devices.find(deviceId))?.state).toBe('held');
    await releaseDevice(world, { deviceId, actor: 'ann' });
    await connectDevice(world, member.der, 'press-1');
    const unfinished = await world.store.read.notices.listUnfinished(deviceId, world.clock.at);
    expect(unfinished.map(({ kind }) => kind)).not.toContain('quarantine');
  });

  it('recovers nothing, and says so, while the list of what was revoked since is not at hand', async () => {
    const first = await addMember(world, 'press-1');
    await takeBackup();
    const second = await renewed(first);
    await revoke('press-1');
    await world.revocations.publish();
    await rm(join(world.folder, 'ca', 'lists'), { recursive: true });
    expect(await restore()).toBe(false);
    await expect(refused(second)).rejects.toMatchObject({ code: 'CERTIFICATE_UNKNOWN' });
    expect(await restored()).toEqual([expect.stringContaining('what was revoked since is not known')]);
  });

  it('does not let in a device that it does not know, or that was revoked before', async () => {
    await addMember(world, 'press-1');
    await revoke('press-1');
    await takeBackup();
    const { ticket } = await addTicket(world, { deviceId: parseDeviceId('press-1'), actor: 'ann' });
    const again = await enroll(world, 'press-1', ticket);
    const later = await addMember(world, 'press-2');
    await restore();
    await expect(connectDevice(world, again.der, 'press-1')).rejects.toMatchObject({ code: 'CERTIFICATE_UNKNOWN' });
    await expect(refused(later)).rejects.toMatchObject({ code: 'CERTIFICATE_UNKNOWN' });
    expect(await restored()).toEqual([
      '0 certificates recovered from the journal, 2 left out, 0 revocations taken over',
    ]);
  });

  it('closes the ticket that was used since, and keeps a certificate that waited for its first use', async () => {
    const ticket = await register(world, 'press-1');
    const waiting = await enroll(world, 'press-2', await register(world, 'press-2'));
    await takeBackup();
    const { der, serial } = await enroll(world, 'press-1', ticket);
    await connectDevice(world, der, 'press-1');
    await connectDevice(world, waiting.der, 'press-2');
    world.clock.at += 3 * 3_600_000;
    await restore();
    await sweep(world);
    expect(await world.store.read.certificates.find(serial)).toMatchObject({ state: 'pending' });
    await expect(enroll(world, 'press-1', ticket)).rejects.toMatchObject({ code: 'TICKET_REVOKED' });
    await connectDevice(world, der, 'press-1');
    await connectDevice(world, waiting.der, 'press-2');
  });
});

it('a store that was not restored finds nothing to recover, after a kill as after an orderly end', async () => {
  const first = await addMember(world, 'press-1');
  await renewed(first);
  await revoke('press-1');
  await world.revocations.publish();
  // Signed, and the answer was lost: the request is on record.
  world.authority.failure = 'answer lost';
  const ticket = await register(world, 'press-2');
  await expect(enroll(world, 'press-2', ticket)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
  world.authority.failure = 'none';
  await world.restart();
  expect(await recover(world)).toBe(true);
  await world.restart();
  expect(await recover(world)).toBe(true);
  expect(await restored()).toEqual([]);
  expect(await world.store.read.audit.list({ limit: 9, action: 'certificate.recovered' })).toEqual([]);
});
