import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { listAlarms } from '#gateway/operations/manage-alarms.ts';
import { raiseAlarm } from '#gateway/operations/quarantine-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { connectDevice, enroll, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';

const press = parseDeviceId('press-07');
const evidence = { kind: 'two places', detail: 'seen', address: '192.0.2.1', serial: null } as const;

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const raise = () => raiseAlarm(world, { deviceId: press, evidence, reaction: 'quarantine' });
const said = () => world.log.lines.filter(({ message }) => message === 'identity alarm');

it('a device that was enrolled anew and is copied again is told of again, although the alarm before is still open', async () => {
  await connectDevice(world, (await enroll(world, press, await register(world, press))).der);
  await raise();
  await raise();
  expect(said()).toHaveLength(1);
  const order = { deviceId: press, reason: 'keyCompromise', actor: 'ann', becomes: 'revoked', requestedAt: 0 } as const;
  await revokeDevice(world, order);
  const { ticket } = await addTicket(world, { deviceId: press, actor: 'ann' });
  await connectDevice(world, (await enroll(world, press, ticket)).der);
  await raise();
  expect((await world.store.read.devices.find(press))?.state).toBe('quarantined');
  expect(said()).toHaveLength(2);
  expect((await listAlarms(world, { limit: 5 })).items).toMatchObject([{ state: 'open', evidence: { times: 2 } }]);
});
