import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { OID } from '#ca/pkix/oids.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { isSerialNumber } from '#ca/pkix/serial-number.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { isStillAdmitted } from '#gateway/operations/admit-session.ts';
import { claimTicket } from '#gateway/operations/claim-ticket.ts';
import { identifyRequester } from '#gateway/operations/identify-requester.ts';
import { revokeTicket } from '#gateway/operations/manage-tickets.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { askWith } from '#test/fixtures/gateway/first-requests.ts';
import {
  ARRIVAL,
  connectDevice,
  csrOf,
  type DeviceKey,
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

async function claim(key: DeviceKey = newKey(), seconds = 3600) {
  const claimed = await claimTicket(world, { deviceId: press, csr: await csrOf(key), seconds, actor: 'anna' });
  const [der = Buffer.alloc(0)] = parsePem(claimed.certificate, 'CERTIFICATE');
  return { ...claimed, der };
}

async function stateOf(serial: string) {
  return (await world.store.read.certificates.find(serial))?.state;
}

describe('a claim', () => {
  it('is a certificate of its own kind, never taken for the device, that lives an hour at most', async () => {
    await register(world, 'press-07');
    const { der, notAfter, trustDomain, est, mqtt } = await claim(newKey(), 7200);
    const certificate = parseCertificate(der);
    expect(certificate.uris).toEqual(['spiffe://test.example/claim/press-07']);
    expect(certificate.extendedKeyUsage).toEqual([OID.clientAuth]);
    expect(new X509Certificate(der).subject).toBe('CN=press-07');
    expect(notAfter - world.clock.now()).toBeLessThanOrEqual(HOUR);
    expect({ trustDomain, est, mqtt }).toEqual({ trustDomain: 'test.example', ...world.doors });
    expect(await world.store.read.certificates.listByDevice(press)).toEqual([]);
    await expect(
      reenrollDevice(world, { attemptId: 'a-00000000000000cc', ...ARRIVAL, peer: der, csr: await csrOf(newKey()) }),
    ).rejects.toMatchObject({ code: 'CLAIM_ONLY_ENROLLS' });
    await expect(connectDevice(world, der)).rejects.toThrow(/only enrolls/);
  });

  it('enrolls its device once, and is spent with its ticket when the new certificate is used', async () => {
    await register(world, 'press-07');
    const { der, serial } = await claim();
    expect(await identifyRequester(world, { der, chain: [] })).toMatchObject({ kind: 'claim' });
    const first = await askWith(world, { peer: der });
    expect(await askWith(world, { peer: der }, first.key)).toMatchObject({ der: first.der, givenAgain: true });
    await expect(askWith(world, { peer: der })).rejects.toMatchObject({ code: 'TICKET_SPENT' });
    await connectDevice(world, first.der);
    await expect(askWith(world, { peer: der }, first.key)).rejects.toMatchObject({ code: 'TICKET_SPENT' });
    expect(await stateOf(serial)).toBe('revoked');
    if (!isSerialNumber(serial)) throw new Error('a serial number');
    expect(isStillAdmitted(world, serial)).toBe(false);
    expect(world.broker.marked).toContain(serial);
  });

  it('gives the same certificate after a restart between the commit and the answer', async () => {
    await register(world, 'press-07');
    const { der } = await claim();
    const key = newKey();
    world.authority.failure = 'answer lost';
    await expect(askWith(world, { peer: der }, key)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    await world.restart();
    world.authority.failure = 'none';
    const first = await askWith(world, { peer: der }, key);
    await world.restart();
    expect(await askWith(world, { peer: der }, key)).toMatchObject({ der: first.der, givenAgain: true });
  });

  it('is one right with its ticket, whichever of the two is shown', async () => {
    const ticket = await register(world, 'press-07');
    const { der } = await claim();
    const key = newKey();
    const first = await enroll(world, 'press-07', ticket, key);
    expect(await askWith(world, { peer: der }, key)).toMatchObject({ der: first.der, givenAgain: true });
    await expect(askWith(world, { peer: der })).rejects.toMatchObject({ code: 'TICKET_SPENT' });
  });

  it('is given again for the same key, and ends when it is claimed for another', async () => {
    await register(world, 'press-07');
    const key = newKey();
    const first = await claim(key);
    expect((await claim(key)).der).toEqual(first.der);
    const second = await claim();
    expect(await stateOf(first.serial)).toBe('revoked');
    await expect(askWith(world, { peer: first.der })).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    await askWith(world, { peer: second.der });
  });

  it('is one for a ticket, also when it is claimed several times at once', async () => {
    await register(world, 'press-07');
    const results = await Promise.allSettled([claim(), claim(), claim()]);
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(1);
    const all = await world.store.read.certificates.list({ limit: 9, deviceId: press });
    expect(all.filter(({ state }) => state === 'active')).toHaveLength(1);
  });

  it('can be claimed again after the gateway was killed before it was recorded', async () => {
    await register(world, 'press-07');
    const key = newKey();
    world.authority.failure = 'answer lost';
    await expect(claim(key)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    await world.restart();
    world.authority.failure = 'none';
    await askWith(world, { peer: (await claim(key)).der });
  });

  it('ends after its hour', async () => {
    await register(world, 'press-07');
    const { der, serial } = await claim();
    world.clock.at += HOUR + 1000;
    await expect(askWith(world, { peer: der })).rejects.toMatchObject({ code: 'CERTIFICATE_EXPIRED' });
    await sweep(world);
    expect(await stateOf(serial)).toBe('expired');
  });

  it.each<[string, () => Promise<unknown>, string]>([
    [
      'is revoked',
      async () => {
        const [row] = await world.store.read.tickets.listByDevice(press);
        return revokeTicket(world, { id: row?.id ?? '', actor: 'test' });
      },
      'TICKET_REVOKED',
    ],
    ['is replaced by another', () => addTicket(world, { deviceId: press, actor: 'test' }), 'TICKET_REVOKED'],
    [
      'goes with its device',
      () =>
        revokeDevice(world, {
          deviceId: press,
          reason: 'superseded',
          actor: 'test',
          requestedAt: 0,
          becomes: 'revoked',
        }),
      'TICKET_REVOKED',
    ],
  ])('ends when its ticket %s', async (_what, end, code) => {
    await register(world, 'press-07');
    const { der, serial } = await claim();
    await end();
    expect(await stateOf(serial)).toBe('revoked');
    expect(world.broker.marked).toContain(serial);
    await expect(askWith(world, { peer: der })).rejects.toMatchObject({ code });
  });
});

describe('no claim is made', () => {
  it('of a device that is not registered, a spent ticket or an expired one, and never for longer than the ticket', async () => {
    await expect(claim()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const ticket = await register(world, 'press-07');
    world.clock.at += 23.75 * HOUR;
    const { notAfter } = await claim();
    expect(notAfter - world.clock.now()).toBeLessThanOrEqual(HOUR / 4);
    await connectDevice(world, (await enroll(world, 'press-07', ticket)).der);
    await expect(claim()).rejects.toMatchObject({ code: 'TICKET_SPENT' });
  });

  it.each(['held', 'quarantined', 'retired'] as const)('of a device that is %s', async (state) => {
    await register(world, 'press-07');
    await world.store.write(({ devices }) => devices.update(press, { state }));
    await expect(claim()).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
  });

  it('with an expired ticket', async () => {
    await register(world, 'press-07');
    world.clock.at += 24 * HOUR;
    await expect(claim()).rejects.toMatchObject({ code: 'TICKET_EXPIRED' });
  });

  it('for a CSR that is not signed by its key', async () => {
    await register(world, 'press-07');
    const csr = Buffer.from(await csrOf(newKey()));
    csr.writeUInt8(csr.readUInt8(csr.length - 1) ^ 1, csr.length - 1);
    const broken = claimTicket(world, { deviceId: press, csr, seconds: 60, actor: 'anna' });
    await expect(broken).rejects.toMatchObject({ code: 'CSR_SIGNATURE_INVALID' });
  });
});
