import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isSerialNumber, type SerialNumber } from '#ca/pkix/serial-number.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { hashTicket } from '#gateway/domain/ticket.ts';
import { supersedeOlder } from '#gateway/operations/activate-certificate.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { isStillAdmitted } from '#gateway/operations/admit-session.ts';
import { checkHealth } from '#gateway/operations/check-health.ts';
import { revokeTicket } from '#gateway/operations/manage-tickets.ts';
import { reconcileEnrollments } from '#gateway/operations/reconcile-enrollments.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { StoreError } from '#gateway/ports/store.ts';
import {
  ARRIVAL,
  changePolicy,
  connectDevice,
  csrOf,
  DAY,
  enroll,
  HOUR,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const press = parseDeviceId('press-07');

function connect(der: Buffer) {
  return connectDevice(world, der);
}

async function renew(peer: Buffer, key = newKey()) {
  world.clock.at += 1000;
  const csr = await csrOf(key, { renews: peer });
  return (await reenrollDevice(world, { attemptId: 'a-00000000000000aa', ...ARRIVAL, peer, csr })).certificate;
}

function online(serial: string): SerialNumber {
  if (!isSerialNumber(serial)) throw new Error('a serial number');
  world.broker.connect({ id: Math.random(), deviceId: press, serial, address: 'x', since: world.clock.now() });
  return serial;
}

async function stateOf(serial: string) {
  return (await world.store.read.certificates.find(serial))?.state;
}

describe('a ticket that is taken back', () => {
  it('takes the certificate with it that was issued under it and never used, when another ticket replaces it', async () => {
    const thief = await enroll(world, 'press-07', await register(world, 'press-07'));
    const { ticket } = await addTicket(world, { deviceId: press, actor: 'test' });
    const device = await enroll(world, 'press-07', ticket);
    await connect(device.der);
    await expect(connect(thief.der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    expect([await stateOf(device.serial), await stateOf(thief.serial)]).toEqual(['active', 'revoked']);
    expect(world.revocations.lists.full?.entries).toBe(1);
  });

  it('does so when it is revoked', async () => {
    const { der } = await enroll(world, 'press-07', await register(world, 'press-07'));
    const [row] = await world.store.read.tickets.listByDevice(press);
    await revokeTicket(world, { id: row?.id ?? '', actor: 'test' });
    await expect(connect(der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    expect((await world.store.read.devices.find(press))?.state).toBe('registered');
  });

  it('gives no second way in while a certificate from another ticket is in use', async () => {
    const first = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(first.der);
    // As an older version or a restored backup might have left it: an open ticket beside a certificate in use.
    const [row] = await world.store.read.tickets.listByDevice(press);
    if (row === undefined) throw new Error('a ticket');
    await world.store.write((tables) =>
      tables.tickets.update(row.id, { spentAt: null, boundSpkiSha256: null, boundSerial: null }),
    );
    await world.store.write((tables) => tables.tickets.update(row.id, { secretSha256: hashTicket('known') }));
    await expect(enroll(world, 'press-07', 'known')).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    expect(await stateOf(first.serial)).toBe('active');
  });
});

describe('an issuance that was interrupted', () => {
  it('is recorded as revoked when its right was taken back meanwhile, and the others are completed', async () => {
    const first = await register(world, 'press-07');
    const second = await register(world, 'press-08');
    world.authority.failure = 'answer lost';
    await expect(enroll(world, 'press-07', first)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    world.clock.at += 1;
    await expect(enroll(world, 'press-08', second)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    const [row] = await world.store.read.tickets.listByDevice(press);
    await revokeTicket(world, { id: row?.id ?? '', actor: 'test' });
    await world.restart();
    world.authority.failure = 'none';
    await reconcileEnrollments(world, { settled: true });
    const states = await Promise.all(
      [press, parseDeviceId('press-08')].map((id) => world.store.read.certificates.listByDevice(id)),
    );
    expect(states.flat().map(({ state }) => state)).toEqual(['revoked', 'pending']);
  });
});

describe('a device whose certificate has expired', () => {
  it('may get a ticket without being revoked first', async () => {
    const { der } = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(der);
    await expect(addTicket(world, { deviceId: press, actor: 'test' })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
    world.clock.at += 8 * DAY;
    const { ticket } = await addTicket(world, { deviceId: press, actor: 'test' });
    const again = await enroll(world, 'press-07', ticket);
    await connect(again.der);
  });
});

describe('a certificate that was superseded', () => {
  it('loses its live session, by report and by the sweep, and is not admitted again', async () => {
    const old = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(old.der);
    const { serial } = await connect(await renew(old.der));
    const oldSerial = online(old.serial);
    await supersedeOlder(world, serial);
    expect(world.broker.closed).toMatchObject([{ session: { serial: oldSerial }, reason: 'superseded' }]);
    expect(isStillAdmitted(world, oldSerial)).toBe(false);
    expect(isStillAdmitted(world, serial)).toBe(true);
  });

  it('loses it by the sweep when nobody reports', async () => {
    const old = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(old.der);
    await connect(await renew(old.der));
    online(old.serial);
    world.clock.at += HOUR + 1;
    await sweep(world);
    expect(world.broker.closed).toMatchObject([{ reason: 'superseded' }]);
  });

  it('cannot renew past the successor that is in use', async () => {
    const old = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(old.der);
    await connect(await renew(old.der));
    await expect(renew(old.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
  });

  it('does not displace a later one that is in use already', async () => {
    const old = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(old.der);
    const earlier = await renew(old.der);
    const later = await connect(await renew(old.der));
    const { serial } = await connect(earlier);
    expect(await world.store.read.certificates.find(later.serial)).toMatchObject({
      state: 'active',
      supersedeAt: null,
    });
    expect((await world.store.read.certificates.find(serial))?.supersedeAt).not.toBeNull();
  });

  it('does not displace one that was renewed with the same certificate and used first', async () => {
    const old = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(old.der);
    const first = await renew(old.der);
    // Whoever has a copy of the old key asks for another in the moment before the device comes with its own.
    const thief = await renew(old.der);
    const { serial } = await connect(first);
    const { serial: second } = await connect(thief);
    expect(await world.store.read.certificates.find(serial)).toMatchObject({ state: 'active', supersedeAt: null });
    expect((await world.store.read.certificates.find(second))?.supersedeAt).not.toBeNull();
    await expect(renew(thief)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    await renew(first);
  });
});

describe('a device that renews in a loop', () => {
  it('is stopped, and may renew again later', async () => {
    let { der } = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(der);
    for (let i = 0; i < 19; i += 1) {
      der = await renew(der);
      await connect(der);
    }
    await expect(renew(der)).rejects.toMatchObject({ code: 'RATE_LIMITED', retryAfter: expect.any(Number) });
    world.clock.at += HOUR;
    await renew(der);
  });
});

describe('what the authority will never sign', () => {
  it('is refused with the reason, and the ticket stays good for something it does sign', async () => {
    await changePolicy(world, { lifetimeSeconds: 7 * 86_400 });
    const ticket = await register(world, 'press-07');
    world.authority.refusal = 'PROFILE_REFUSED';
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    world.authority.refusal = undefined;
    await expect(enroll(world, 'press-07', ticket)).resolves.toMatchObject({ givenAgain: false });
  });

  it('is not what it cannot sign at the moment: that is said as such', async () => {
    const ticket = await register(world, 'press-07');
    world.authority.refusal = 'JOURNAL_FAILED';
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
  });
});

describe('a revocation', () => {
  it('shuts the device out even when the database cannot be written, and says that it holds only so long', async () => {
    const { der, serial } = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(der);
    online(serial);
    world.store.write = () => Promise.reject(new StoreError('UNAVAILABLE', 'disk full'));
    await expect(
      revokeDevice(world, {
        deviceId: press,
        reason: 'keyCompromise',
        actor: 'test',
        requestedAt: 0,
        becomes: 'revoked',
      }),
    ).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('revoke it again') });
    expect(world.broker.closed).toHaveLength(1);
    await expect(connect(der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  });

  it('that is not on the CRL yet makes a new one due, and health says so after a while', async () => {
    const { der } = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(der);
    await world.revocations.publish();
    expect(await world.revocations.isDue()).toBe(false);
    world.clock.at += 5000;
    world.authority.failure = 'unreachable';
    await revokeDevice(world, {
      deviceId: press,
      reason: 'superseded',
      actor: 'test',
      requestedAt: 0,
      becomes: 'revoked',
    });
    expect(await world.revocations.isDue()).toBe(true);
    world.authority.failure = 'none';
    world.clock.at += 31_000;
    const crl = async () =>
      (await checkHealth({ ...world, ownCertificates: () => [] })).find(({ name }) => name === 'crl');
    expect(await crl()).toMatchObject({ ok: false });
    await world.revocations.turn();
    expect(await crl()).toMatchObject({ ok: true });
    expect(await world.revocations.isDue()).toBe(false);
  });

  it('gets onto a CRL also after the clock was days ahead for a while', async () => {
    world.clock.at += 2 * DAY;
    await world.revocations.publish();
    world.clock.at -= 2 * DAY;
    expect(await world.revocations.isDue()).toBe(true);
    await world.revocations.publish();
    const crl = world.revocations.lists.full;
    expect(crl?.number).toBe(2);
    expect(crl?.thisUpdate).toBeLessThanOrEqual(world.clock.at);
  });
});
