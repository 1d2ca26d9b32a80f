import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { ask, askWith } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, type Maker, newGroup, trust } from '#test/fixtures/gateway/makers.ts';
import {
  ARRIVAL,
  BOUND,
  changePolicy,
  connectDevice,
  csrOf,
  enroll,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let maker: Maker;
beforeEach(async () => {
  world = await openWorld();
  maker = createMaker(world);
  await trust(world, maker.root);
  await changePolicy(world, { approval: 'auto' });
});
afterEach(() => world.close());

describe('the policy of the group, at a first enrollment', () => {
  it('lets no more devices in than the group may have, however many come at once', async () => {
    await changePolicy(world, { maxDevices: 2 });
    const names = ['SN-1', 'SN-2', 'SN-3', 'SN-4', 'SN-5'];
    const results = await Promise.allSettled(names.map((name) => askWith(world, maker.device(name))));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    const codes = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
    expect(new Set(codes)).toEqual(new Set(['GROUP_FULL']));
    expect(await world.store.read.devices.list({ limit: 9 })).toHaveLength(2);
  });

  it('holds the count of an hour, however many come at once', async () => {
    await changePolicy(world, { maxPerHour: 3 });
    const names = ['SN-1', 'SN-2', 'SN-3', 'SN-4', 'SN-5'];
    const results = await Promise.allSettled(names.map((name) => askWith(world, maker.device(name))));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
  });

  it('registers nobody that it refuses', async () => {
    await changePolicy(world, { deviceIdPattern: 'pump-*' });
    await expect(askWith(world, maker.device('SN-1'))).rejects.toMatchObject({ code: 'DEVICE_ID_NOT_ALLOWED' });
    expect(await world.store.read.devices.list({ limit: 9 })).toEqual([]);
  });

  it('wants the CSR bound to its session where it says so', async () => {
    await changePolicy(world, { binding: 'required' });
    await expect(askWith(world, maker.device('SN-1'))).rejects.toMatchObject({ code: 'CSR_BINDING_REQUIRED' });
    await askWith(world, maker.device('SN-1'), newKey(), BOUND);
  });

  it('asks the webhook about what it would grant, with all it has to know, and fails closed', async () => {
    await changePolicy(world, { webhook: 'https://policy.example/', owner: 'plant 4' });
    await askWith(world, maker.device('SN-1'), newKey(), { attemptId: 'a-00000000000000ff' });
    expect(world.webhook.questions).toEqual([
      {
        version: 1,
        attemptId: 'a-00000000000000ff',
        kind: 'enroll',
        deviceId: 'SN-1',
        group: 'default',
        owner: 'plant 4',
        hardwareSerial: 'SN-1',
        grounds: `manufacturer:${maker.root.certificate.sha256}`,
        address: '127.0.0.1',
        keyKind: 'ec-p256',
        spkiSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        proofLevel: 'software',
      },
    ]);
    world.webhook.verdict = new Error('no answer');
    const failed = askWith(world, maker.device('SN-2'));
    await expect(failed).rejects.toMatchObject({ code: 'POLICY_WEBHOOK_UNAVAILABLE', retryAfter: 60 });
    expect(await world.store.read.devices.find(parseDeviceId('SN-2'))).toBeUndefined();
  });

  it('is that of the device, whatever group the label asks for', async () => {
    await newGroup(world, 'line-1', {});
    const ticket = await register(world, 'press-07');
    const credentials = { by: 'ticket', deviceId: 'press-07', ticket } as const;
    const labelled = ask(world, credentials, newKey(), { label: 'line-1' });
    await expect(labelled).rejects.toMatchObject({ code: 'LABEL_OF_ANOTHER_GROUP' });
  });
});

async function renew(
  peer: Buffer,
  key = newKey(),
  { attributes = [], ...more }: { label?: string } & Partial<typeof BOUND> = {},
) {
  world.clock.at += 1000;
  const csr = await csrOf(key, { renews: peer, attributes });
  return reenrollDevice(world, { attemptId: 'a-00000000000000ab', ...ARRIVAL, peer, csr, ...more });
}

describe('the policy of the group, at a renewal', () => {
  it('checks network, binding and webhook again; hours, counts and approval are for newcomers', async () => {
    const { der } = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connectDevice(world, der);
    await changePolicy(world, { approval: 'manual', maxDevices: 1, maxPerHour: 1, deviceIdPattern: 'x-*' });
    await renew(der);
    await changePolicy(world, { networks: ['10.0.0.0/8'] });
    await expect(renew(der)).rejects.toMatchObject({ code: 'NETWORK_NOT_ALLOWED' });
    await changePolicy(world, { networks: [], binding: 'required' });
    await expect(renew(der)).rejects.toMatchObject({ code: 'CSR_BINDING_REQUIRED' });
    await renew(der, newKey(), BOUND);
    await changePolicy(world, { binding: 'optional', webhook: 'https://policy.example/' });
    world.webhook.verdict = { decision: 'deny', reason: 'out of service' };
    await expect(renew(der)).rejects.toMatchObject({ code: 'POLICY_WEBHOOK_REFUSED' });
  });

  it('asks nobody again about an answer that was lost', async () => {
    const { der } = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connectDevice(world, der);
    await changePolicy(world, { webhook: 'https://policy.example/' });
    const key = newKey();
    const first = await renew(der, key);
    world.webhook.verdict = new Error('no answer');
    expect(await renew(der, key)).toEqual({ certificate: first.certificate, givenAgain: true });
  });

  it('wants the label of the group of the device, or none', async () => {
    const { der } = await enroll(world, 'press-07', await register(world, 'press-07'));
    await newGroup(world, 'line-1', {});
    await expect(renew(der, newKey(), { label: 'line-1' })).rejects.toMatchObject({ code: 'LABEL_OF_ANOTHER_GROUP' });
    await expect(renew(der, newKey(), { label: 'none' })).rejects.toMatchObject({ code: 'LABEL_UNKNOWN' });
    await renew(der, newKey(), { label: 'default' });
  });
});
