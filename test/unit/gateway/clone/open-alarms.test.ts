import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { activateCertificate } from '#gateway/operations/activate-certificate.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { listAlarms } from '#gateway/operations/manage-alarms.ts';
import { orderRevocation } from '#gateway/operations/order-revocation.ts';
import { raiseAlarm } from '#gateway/operations/quarantine-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { connectDevice, enroll, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';
import { type Member, renew, revoker } from '#test/fixtures/gateway/revocation-world.ts';

const press = parseDeviceId('press-07');
const evidence = { kind: 'two places', detail: 'seen', address: '192.0.2.1', serial: null } as const;

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const raise = (reaction: 'quarantine' | 'alarm') => raiseAlarm(world, { deviceId: press, evidence, reaction });
const said = () => world.log.lines.filter(({ message }) => message === 'identity alarm');
const order = { deviceId: press, reason: 'keyCompromise', actor: 'ann', becomes: 'revoked', requestedAt: 0 } as const;
const alarms = async () =>
  (await listAlarms(world, { limit: 5 })).items.map(({ state, evidence: { times } }) => ({ state, times }));

it('a device that is quarantined while an alarm about it is open is told of again', async () => {
  await connectDevice(world, (await enroll(world, press, await register(world, press))).der);
  await raise('alarm');
  await raise('alarm');
  expect(said()).toHaveLength(1);
  await raise('quarantine');
  expect((await world.store.read.devices.find(press))?.state).toBe('quarantined');
  expect(said()).toHaveLength(2);
  expect(await alarms()).toEqual([{ state: 'open', times: 2 }]);
});

it('a device that was enrolled anew and is copied again has an alarm of its own', async () => {
  await connectDevice(world, (await enroll(world, press, await register(world, press))).der);
  await raise('quarantine');
  await revokeDevice(world, order);
  expect(await alarms()).toEqual([{ state: 'resolved', times: 1 }]);
  const { ticket } = await addTicket(world, { deviceId: press, actor: 'ann' });
  await connectDevice(world, (await enroll(world, press, ticket)).der);
  await raise('quarantine');
  expect((await world.store.read.devices.find(press))?.state).toBe('quarantined');
  expect(said()).toHaveLength(2);
  expect((await alarms()).filter(({ state }) => state === 'open')).toEqual([{ state: 'open', times: 1 }]);
});

it.each([
  ['the device', () => revokeDevice(world, order)],
  ['its last certificate', revokeCertificate],
] as const)('whoever enrolls anew after a revocation of %s is not told of the quarantine before', async (_, revoke) => {
  const { der } = await enroll(world, press, await register(world, press));
  await connectDevice(world, der);
  await raise('quarantine');
  await revoke();
  const { ticket } = await addTicket(world, { deviceId: press, actor: 'ann' });
  await connectDevice(world, (await enroll(world, press, ticket)).der);
  const unfinished = await world.store.read.notices.listUnfinished(press, world.clock.at);
  expect(unfinished.map(({ kind }) => kind).filter((kind) => kind !== 'revoked')).toEqual([]);
});

it('a certificate that was looked at before the quarantine does not come into use in it', async () => {
  const { der } = await enroll(world, press, await register(world, press));
  await connectDevice(world, der);
  world.clock.at += 1000;
  const { serial } = await renew(world, { deviceId: press, der } as unknown as Member);
  await raise('quarantine');
  await expect(activateCertificate(world, serial, 3600)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
  expect((await world.store.read.certificates.find(serial))?.state).toBe('pending');
});

async function revokeCertificate() {
  const deps = revoker(world);
  const [certificate] = await world.store.read.certificates.listByDevice(press);
  const target = { scope: 'certificate', target: certificate?.serial ?? '' } as const;
  await orderRevocation(deps, { ...target, reason: 'superseded', actor: 'ann' });
  await deps.revocationJobs.stop();
}
