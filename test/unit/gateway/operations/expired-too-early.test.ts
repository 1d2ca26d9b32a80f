import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { supersedeOlder } from '#gateway/operations/activate-certificate.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { holdDevice, releaseDevice } from '#gateway/operations/hold-device.ts';
import { orderRevocation } from '#gateway/operations/order-revocation.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { connectDevice, DAY, enroll, HOUR, openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';
import { addMember, type Member, renew, revoker } from '#test/fixtures/gateway/revocation-world.ts';

const press = parseDeviceId('press-07');
let world: World;
let member: Member;
beforeEach(async () => {
  world = await openWorld();
  member = await addMember(world, 'press-07');
});
afterEach(() => world.close());

/** The gateway's clock is wrong for a while, and the sweep believes it. */
async function ahead(meanwhile: () => Promise<unknown> = async () => undefined): Promise<void> {
  world.clock.at += 8 * DAY;
  await sweep(world);
  await meanwhile();
  world.clock.at -= 8 * DAY - HOUR;
}

const stateOf = async ({ serial }: Member) => (await world.store.read.certificates.find(serial))?.state;
const revoke = () =>
  revokeDevice(world, { deviceId: press, reason: 'superseded', actor: 'test', requestedAt: 0, becomes: 'revoked' });

it('a clock that was ahead for a while costs nobody a certificate that has not expired', async () => {
  await ahead();
  expect(await stateOf(member)).toBe('expired');
  expect(await connectDevice(world, member.der)).toMatchObject({ deviceId: press });
  expect(await stateOf(member)).toBe('active');
  const [said] = await world.store.read.audit.list({ limit: 1, action: 'certificate.expiry-taken-back' });
  expect(said).toMatchObject({
    subject: 'press-07',
    detail: expect.stringContaining(`serial ${member.serial} is active`),
  });
  await expect(renew(world, member)).resolves.toMatchObject({ deviceId: 'press-07' });
});

it('it expires at its end all the same', async () => {
  await ahead();
  await connectDevice(world, member.der);
  world.clock.at += 8 * DAY;
  await sweep(world);
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_EXPIRED' });
});

it('what was replaced before stays replaced', async () => {
  const young = await renew(world, member);
  await connectDevice(world, young.der);
  await supersedeOlder(world, young.serial);
  await ahead();
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
  expect(await connectDevice(world, young.der)).toMatchObject({ serial: young.serial });
});

it('what came later and displaced nobody has not replaced it', async () => {
  world.clock.at += 1000;
  const first = await renew(world, member);
  world.clock.at += 1000;
  const second = await renew(world, member);
  await connectDevice(world, first.der);
  await connectDevice(world, second.der);
  await ahead();
  await expect(connectDevice(world, second.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
  expect(await connectDevice(world, first.der)).toMatchObject({ serial: first.serial });
});

it('one that was not used in time is not good for longer', async () => {
  // Of two issued in the same millisecond the one in use counts as the later.
  world.clock.at += 1;
  const young = await renew(world, member);
  await ahead();
  world.clock.at += HOUR;
  await expect(connectDevice(world, young.der)).rejects.toMatchObject({ code: 'CERTIFICATE_EXPIRED' });
});

it('who enrolled anew meanwhile has replaced it', async () => {
  const { ticket } = await addTicketWhileAhead();
  const { der } = await enroll(world, 'press-07', ticket);
  await connectDevice(world, der);
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
});

async function addTicketWhileAhead() {
  let added: Awaited<ReturnType<typeof addTicket>> | undefined;
  await ahead(async () => {
    added = await addTicket(world, { deviceId: press, actor: 'test' });
  });
  if (added === undefined) throw new Error('no ticket');
  return added;
}

it('a device that was revoked meanwhile does not come back by it', async () => {
  await ahead(revoke);
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_EXPIRED' });
});

it('it is revoked with its device, and on the list, when that is said after the clock was set right', async () => {
  await ahead();
  await revoke();
  expect(await stateOf(member)).toBe('revoked');
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
});

it('what was replaced meanwhile does not come back by a hold and its end', async () => {
  const { ticket } = await addTicketWhileAhead();
  world.clock.at += 1000;
  const { der } = await enroll(world, 'press-07', ticket);
  await connectDevice(world, der);
  const order = { deviceId: press, why: 'test', actor: 'test', requestedAt: 0 };
  await holdDevice(world, order);
  await releaseDevice(world, order);
  expect(await connectDevice(world, der)).toMatchObject({ deviceId: press });
  await expect(connectDevice(world, member.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
});

it('what was replaced meanwhile is no certificate to go on from when the one in use is revoked', async () => {
  const { ticket } = await addTicketWhileAhead();
  world.clock.at += 1000;
  const { der, serial } = await enroll(world, 'press-07', ticket);
  await connectDevice(world, der);
  const deps = revoker(world);
  await orderRevocation(deps, { scope: 'certificate', target: serial, reason: 'superseded', actor: 'test' });
  await deps.revocationJobs.stop();
  expect((await world.store.read.devices.find(press))?.state).toBe('revoked');
});
