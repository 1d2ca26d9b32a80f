import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { addDevice } from '#gateway/operations/add-device.ts';
import { approveEnrollment } from '#gateway/operations/decide-requests.ts';
import { identifyRequester } from '#gateway/operations/identify-requester.ts';
import { importDevices } from '#gateway/operations/import-devices.ts';
import { replaceHardware } from '#gateway/operations/replace-hardware.ts';
import { testGroup } from '#gateway/operations/test-group.ts';
import { ask, askWith, waiting } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, type Maker, newGroup, trust } from '#test/fixtures/gateway/makers.ts';
import { changePolicy, newKey, openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let maker: Maker;
beforeEach(async () => {
  world = await openWorld();
  maker = createMaker(world);
  await trust(world, maker.root);
  await changePolicy(world, { approval: 'auto' });
});
afterEach(() => world.close());

const press = parseDeviceId('press-07');

function register(id: string, more: { hardwareSerial?: string; group?: string } = {}) {
  return addDevice(world, { deviceId: parseDeviceId(id), actor: 'anna', ...more });
}

async function ids(): Promise<DeviceId[]> {
  return (await world.store.read.devices.list({ limit: 9 })).map(({ deviceId }) => deviceId);
}

const looksAlike = { code: 'DEVICE_LOOKS_ALIKE', subject: { deviceId: 'press-07' } };

describe('where unknown devices of a maker enroll by themselves', () => {
  it.each(['sn-0007', 'Sn-0007', 'SN- 0007', ' SN-0007'])(
    '%j is refused, and makes no second device, beside one with the hardware serial SN-0007',
    async (serial) => {
      await register('press-07', { hardwareSerial: 'SN-0007' });
      const shown = maker.device(serial);
      await expect(askWith(world, shown)).rejects.toMatchObject(looksAlike);
      // What the MQTT door asks before it opens a session.
      await expect(identifyRequester(world, { der: shown.peer, chain: shown.chain })).rejects.toMatchObject(looksAlike);
      expect(await ids()).toEqual(['press-07']);
      await askWith(world, maker.device('SN-0007'));
    },
  );

  it('one whose name would differ from a registered one in capitals alone is refused', async () => {
    await register('press-07');
    await expect(askWith(world, maker.device('PRESS-07'))).rejects.toMatchObject(looksAlike);
    expect(await ids()).toEqual(['press-07']);
  });

  it('of two strangers that look alike and come at once, one gets in', async () => {
    const asked = await Promise.allSettled(
      ['SN-1', 'sn-1', 'Sn-1'].map((serial) => askWith(world, maker.device(serial))),
    );
    const codes = asked.flatMap((one) => (one.status === 'fulfilled' ? [] : [one.reason.code]));
    expect(codes).toEqual(['DEVICE_LOOKS_ALIKE', 'DEVICE_LOOKS_ALIKE']);
    expect(await ids()).toHaveLength(1);
  });

  it('of two strangers that look alike and wait, one can be approved', async () => {
    await changePolicy(world, { approval: 'manual' });
    for (const serial of ['SN-1', 'sn-1'])
      await expect(askWith(world, maker.device(serial))).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    const [first, second] = await waiting(world);
    await approveEnrollment(world, { id: first?.id ?? '', actor: 'anna' });
    const other = approveEnrollment(world, { id: second?.id ?? '', actor: 'anna' });
    await expect(other).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect(await ids()).toHaveLength(1);
  });

  it('a device of another maker, in another group, may have the same serial number', async () => {
    await newGroup(world, 'line-2', { approval: 'auto' });
    await register('press-07', { hardwareSerial: 'SN-0007', group: 'line-2' });
    await askWith(world, maker.device('sn-0007'));
    expect(await ids()).toEqual(['press-07', 'sn-0007']);
  });

  it('a ticket is good for the very name it was made for', async () => {
    const { ticket } = await register('press-07');
    const asked = ask(world, { by: 'ticket', deviceId: 'PRESS-07', ticket });
    await expect(asked).rejects.toMatchObject({ code: 'TICKET_OF_ANOTHER_DEVICE' });
  });
});

describe('an operator', () => {
  it.each([
    ['with the same hardware serial', 'pump-1', 'SN-0007', /"press-07" has this hardware serial/],
    [
      'with the same hardware serial in other capitals',
      'pump-1',
      'sn-0007',
      /"press-07" has the hardware serial "SN-0007"/,
    ],
    ['with the same name in other capitals', 'Press-07', 'SN-0008', /"press-07"/],
  ])('registers no second device %s', async (_what, id, hardwareSerial, message) => {
    await register('press-07', { hardwareSerial: 'SN-0007' });
    const refusal = { code: 'ALREADY_EXISTS', message: expect.stringMatching(message) };
    await expect(register(id, { hardwareSerial })).rejects.toMatchObject(refusal);
    const entries = [{ deviceId: parseDeviceId(id), hardwareSerial }];
    const { items } = await importDevices(world, { entries, actor: 'anna' });
    expect(items).toMatchObject([{ outcome: 'refused', detail: expect.stringMatching(message) }]);
    expect(await ids()).toEqual(['press-07']);
  });

  it('is told so when asking beforehand what a group would say to such a name', async () => {
    await register('press-07');
    const tested = testGroup(world, { name: 'default', deviceId: parseDeviceId('PRESS-07') });
    const message = expect.stringContaining('"press-07"');
    await expect(tested).rejects.toMatchObject({ code: 'STATE_CONFLICT', message });
  });

  it('names the hardware serial of the new board when hardware is replaced: the old one stands for nothing then', async () => {
    await register('press-07', { hardwareSerial: 'SN-0007' });
    const order = { deviceId: press, hardwareSerial: 'SN-0008', actor: 'anna', requestedAt: 0 };
    const { ticket } = await replaceHardware(world, order);
    expect(await world.store.read.devices.find(press)).toMatchObject({ hardwareSerial: 'SN-0008' });
    await ask(world, { by: 'ticket', deviceId: press, ticket });
    await changePolicy(world, { approval: 'registered' });
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject({ code: 'DEVICE_UNKNOWN' });
    const [entry] = await world.store.read.audit.list({ subject: press, action: 'device.hardware-replaced', limit: 1 });
    expect(entry?.detail).toContain('hardware serial SN-0007 -> SN-0008');
  });

  it('keeps the hardware serial when nothing is said, takes it away, and cannot take that of another device', async () => {
    await register('press-07', { hardwareSerial: 'SN-0007' });
    await register('pump-1', { hardwareSerial: 'SN-0001' });
    const replace = (more: { hardwareSerial?: string | null }) =>
      replaceHardware(world, { deviceId: press, actor: 'anna', requestedAt: 0, ...more });
    const key = newKey();
    const { ticket } = await replace({});
    expect(await world.store.read.devices.find(press)).toMatchObject({ hardwareSerial: 'SN-0007' });
    const { serial } = await ask(world, { by: 'ticket', deviceId: press, ticket }, key);
    const taken = { code: 'ALREADY_EXISTS', message: expect.stringContaining('"pump-1"') };
    await expect(replace({ hardwareSerial: 'sn-0001' })).rejects.toMatchObject(taken);
    expect(await world.store.read.certificates.find(serial)).toMatchObject({ state: 'pending' });
    await replace({ hardwareSerial: null });
    expect(await world.store.read.devices.find(press)).toMatchObject({ hardwareSerial: null });
  });
});
