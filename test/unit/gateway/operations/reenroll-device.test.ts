import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { supersedeOlder } from '#gateway/operations/activate-certificate.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import {
  ARRIVAL,
  changePolicy,
  connectDevice,
  csrOf,
  DAY,
  type DeviceKey,
  enroll,
  HOUR,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let current: Awaited<ReturnType<typeof enroll>>;
const press = parseDeviceId('press-07');

beforeEach(async () => {
  world = await openWorld();
  current = await enroll(world, 'press-07', await register(world, 'press-07'));
  await connect(current.der);
});
afterEach(() => world.close());

function connect(der: Buffer) {
  return connectDevice(world, der);
}

async function renew(key: DeviceKey, peer = current.der) {
  world.clock.at += 1000;
  const csr = await csrOf(key, { renews: peer });
  return reenrollDevice(world, { attemptId: 'a-00000000000000aa', ...ARRIVAL, peer, csr });
}

async function states(): Promise<string[]> {
  return (await world.store.read.certificates.listByDevice(press)).map(({ state }) => state);
}

it('goes pending, active with its first session, and the old one superseded once the agent reports its switch', async () => {
  const { certificate } = await renew(newKey());
  expect(await states()).toEqual(['pending', 'active']);
  const grant = await connect(certificate);
  expect(await states()).toEqual(['active', 'active']);
  // The old one still works: the device may lose power before it has switched.
  await connect(current.der);
  await supersedeOlder(world, grant.serial);
  expect(await states()).toEqual(['active', 'superseded']);
  await expect(connect(current.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
});

it('ends the old one after the overlap when the device never reports its switch', async () => {
  const { certificate } = await renew(newKey());
  await connect(certificate);
  world.clock.at += HOUR + 1;
  await sweep(world);
  expect(await states()).toEqual(['active', 'superseded']);
});

it('does not let an old session supersede the new certificate', async () => {
  const { certificate } = await renew(newKey());
  await connect(certificate);
  world.clock.at += 1000;
  await supersedeOlder(world, current.serial as never);
  expect(await states()).toEqual(['active', 'active']);
});

it('gives the same key the same certificate again while it is unused', async () => {
  const key = newKey();
  const first = await renew(key);
  const again = await renew(key);
  expect(again).toEqual({ certificate: first.certificate, givenAgain: true });
});

it('renews with the same key when the device asks for that', async () => {
  const { certificate } = await renew(current.key);
  expect(certificate.equals(current.der)).toBe(false);
  await connect(certificate);
});

it('refuses another subject, and a missing or different subjectAltName', async () => {
  const other = await csrOf(newKey(), { commonName: 'press-07' });
  await expect(
    reenrollDevice(world, { attemptId: 'a-00000000000000ab', ...ARRIVAL, peer: current.der, csr: other }),
  ).rejects.toMatchObject({ code: 'IDENTITY_MISMATCH' });
  const stranger = await csrOf(newKey(), { commonName: 'press-08' });
  await expect(
    reenrollDevice(world, { attemptId: 'a-00000000000000ac', ...ARRIVAL, peer: current.der, csr: stranger }),
  ).rejects.toMatchObject({ code: 'IDENTITY_MISMATCH' });
});

it('evaluates the policy of today, not of the day the device was enrolled', async () => {
  await changePolicy(world, { keys: ['ec-p384'] });
  await expect(renew(newKey())).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
  await changePolicy(world, { keys: ['ec-p256'], proof: 'tpm-endorsed' });
  await expect(renew(newKey())).rejects.toMatchObject({ code: 'ATTESTATION_REQUIRED' });
});

it('refuses a revoked, an expired and an unknown certificate', async () => {
  const stranger = await csrOf(newKey(), { renews: current.der });
  const copied = Buffer.from(current.der);
  copied.writeUInt8(copied.readUInt8(copied.length - 1) ^ 1, copied.length - 1);
  await expect(
    reenrollDevice(world, { attemptId: 'a-00000000000000ad', ...ARRIVAL, peer: copied, csr: stranger }),
  ).rejects.toMatchObject({ code: 'CERTIFICATE_UNKNOWN' });
  world.clock.at += 8 * DAY;
  await expect(renew(newKey())).rejects.toMatchObject({ code: 'CERTIFICATE_EXPIRED' });
  world.clock.at -= 8 * DAY;
  await revokeDevice(world, {
    deviceId: press,
    reason: 'keyCompromise',
    actor: 'test',
    requestedAt: 0,
    becomes: 'revoked',
  });
  await expect(renew(newKey())).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
});

it('bounds the certificates a device may hold without using them', async () => {
  for (let i = 0; i < 5; i += 1) await renew(newKey());
  await expect(renew(newKey())).rejects.toMatchObject({ code: 'RATE_LIMITED' });
});

it('hands out nothing when the device is revoked between the intent and the signature', async () => {
  world.authority.beforeAnswer = async () => {
    world.authority.beforeAnswer = async () => undefined;
    await revokeDevice(world, {
      deviceId: press,
      reason: 'keyCompromise',
      actor: 'test',
      requestedAt: 0,
      becomes: 'revoked',
    });
  };
  await expect(renew(newKey())).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
  expect(await states()).toEqual(['revoked', 'revoked']);
});
