import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { type DeviceEntry, importDevices } from '#gateway/operations/import-devices.ts';
import { askWith } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, newGroup, trust } from '#test/fixtures/gateway/makers.ts';
import {
  changePolicy,
  enroll,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
  await newGroup(world, 'line-1', { owner: 'plant 4' });
});
afterEach(() => world.close());

const EK = 'ab'.repeat(32);

function entry(id: string, more: Partial<DeviceEntry> = {}): DeviceEntry {
  return { deviceId: parseDeviceId(id), ...more };
}

async function load(...entries: DeviceEntry[]): Promise<string[]> {
  const { items } = await importDevices(world, { entries, actor: 'anna' });
  return items.map(({ outcome, detail }) => (detail === null ? outcome : `${outcome}: ${detail}`));
}

it('registers each device with what its row says, and changes nothing when the list is sent again', async () => {
  const rows = [
    entry('pump-1', { group: 'line-1', hardwareSerial: 'SN-1', owner: 'anna', ekSha256: EK }),
    entry('pump-2', { group: 'line-1' }),
    entry('pump-3'),
  ];
  expect(await load(...rows)).toEqual(['added', 'added', 'added']);
  expect(await world.store.read.devices.find(parseDeviceId('pump-1'))).toMatchObject({
    group: 'line-1',
    hardwareSerial: 'SN-1',
    owner: 'anna',
    state: 'registered',
  });
  expect(await world.store.read.devices.find(parseDeviceId('pump-2'))).toMatchObject({ owner: 'plant 4' });
  expect(await world.store.read.ekAllowList.find(EK)).toMatchObject({ deviceId: 'pump-1' });
  expect(await load(...rows)).toEqual(['unchanged', 'unchanged', 'unchanged']);
  expect(await world.store.read.audit.list({ action: 'device.added', limit: 9 })).toHaveLength(3);
});

it('gives an owner to a device that has none, so that it enrolls where one is needed', async () => {
  const ticket = await register(world, 'press-07');
  await changePolicy(world, { requireOwner: true });
  const key = newKey();
  await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject({ code: 'OWNER_MISSING' });
  expect(await load(entry('press-07', { owner: 'ben' }))).toEqual(['added: its owner']);
  expect(await load(entry('press-07', { owner: 'ben' }))).toEqual(['unchanged']);
  expect(await load(entry('press-07', { owner: 'anna' }))).toEqual(['refused: it is registered with another owner']);
  await enroll(world, 'press-07', ticket, key);
  expect(await world.store.read.audit.list({ action: 'device.owner-given', limit: 9 })).toMatchObject([
    { actor: 'anna', subject: 'press-07', detail: 'ben' },
  ]);
});

it('lets a device of a maker in by its row alone, without a ticket', async () => {
  const maker = createMaker(world);
  await trust(world, maker.root, 'line-1');
  await load(entry('pump-1', { group: 'line-1', hardwareSerial: 'SN-1' }));
  await askWith(world, maker.device('SN-1'));
});

it('refuses a row without harm to its neighbours', async () => {
  await load(entry('known', { group: 'line-1', hardwareSerial: 'SN-1', ekSha256: EK }));
  expect(
    await load(
      entry('good-1'),
      entry('a', { group: 'nowhere' }),
      entry('b', { group: 'line-1', hardwareSerial: 'SN-1' }),
      entry('known', { group: 'default' }),
      entry('known', { hardwareSerial: 'SN-2', group: 'line-1' }),
      entry('known', { owner: 'ben' }),
      entry('c', { ekSha256: EK }),
      entry('d', { ekSha256: 'AB' }),
      entry('e', { hardwareSerial: 'a\nb' }),
      entry('good-2'),
    ),
  ).toEqual([
    'added',
    'refused: no group "nowhere"',
    'refused: "known" has this hardware serial',
    'refused: it is registered in the group "line-1"',
    'refused: it is registered with another hardware serial',
    'refused: it is registered with another owner',
    'refused: the endorsement key belongs to "known"',
    'refused: the SHA-256 of the EK is not 64 hex digits',
    'refused: the hardware serial is not 1 to 64 letters, digits or plain punctuation',
    'added',
  ]);
});

it('takes a thousand rows and no more', async () => {
  const rows = Array.from({ length: 1000 }, (_, n) => entry(`pump-${n}`));
  expect(new Set(await load(...rows))).toEqual(new Set(['added']));
  await expect(load(...rows, entry('one-more'))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
});
