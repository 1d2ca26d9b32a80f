import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { addDevice } from '#gateway/operations/add-device.ts';
import type { FirstRequest } from '#gateway/operations/admit-applicant.ts';
import { holdDevice } from '#gateway/operations/hold-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { type TestGroupOrder, testGroup } from '#gateway/operations/test-group.ts';
import { askWith } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, type Maker, newGroup, trust } from '#test/fixtures/gateway/makers.ts';
import {
  BOUND,
  changePolicy,
  connectDevice,
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
});
afterEach(() => world.close());

const id = parseDeviceId('SN-0007');

/** What really became of it, as a test would say it. */
async function became(really: Promise<unknown>): Promise<{ outcome: string; code: string | null }> {
  try {
    await really;
    return { outcome: 'issued', code: null };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    const { code } = error;
    return { outcome: code === 'APPROVAL_PENDING' ? 'waits for approval' : 'refused', code };
  }
}

type Case = {
  policy?: Partial<GroupPolicy>;
  /** What was before. @returns a ticket, when the device comes with one */
  before?: () => Promise<string | undefined>;
  asks: Omit<TestGroupOrder, 'name'>;
  /** Of the real request. */
  request?: Partial<FirstRequest> & Partial<typeof BOUND>;
  is: { outcome: string; code: string | null };
};

const registered = (more: { hardwareSerial?: string } = {}) =>
  addDevice(world, { deviceId: id, actor: 'test', ...more }).then(({ ticket }) => ticket);

const byMaker = { deviceId: id, grounds: 'manufacturer', address: '127.0.0.1' } as const;
const ISSUED = { outcome: 'issued', code: null };
const WAITS = { outcome: 'waits for approval', code: 'APPROVAL_PENDING' };
const refused = (code: string) => ({ outcome: 'refused', code });

const CASES: Record<string, Case> = {
  'a stranger in a group whose devices have an owner, gets that one': {
    policy: { approval: 'auto', requireOwner: true, owner: 'plant 7' },
    asks: byMaker,
    is: ISSUED,
  },
  'a stranger in a group that nobody answers for': {
    policy: { approval: 'auto', requireOwner: true },
    asks: byMaker,
    is: refused('OWNER_MISSING'),
  },
  'a device of the same name without a hardware serial': {
    policy: { approval: 'auto' },
    before: async () => void (await registered()),
    asks: byMaker,
    is: refused('DEVICE_NOT_ALLOWED'),
  },
  'a device that was revoked, with the certificate of its maker': {
    before: async () => {
      await registered({ hardwareSerial: id });
      const order = { deviceId: id, reason: 'superseded', actor: 'ben', requestedAt: 0 } as const;
      await revokeDevice(world, { ...order, becomes: 'revoked' });
      return undefined;
    },
    asks: byMaker,
    is: WAITS,
  },
  'a device with a certificate for another key on its way, in a group that has no more room': {
    policy: { maxDevices: 1, maxPerHour: 1 },
    before: async () => {
      await registered({ hardwareSerial: id });
      await askWith(world, maker.device(id));
      return undefined;
    },
    asks: byMaker,
    is: WAITS,
  },
  'a device on hold': {
    before: async () => {
      await registered({ hardwareSerial: id });
      await connectDevice(world, (await askWith(world, maker.device(id))).der, id);
      await holdDevice(world, { deviceId: id, why: 'lost', actor: 'ben', requestedAt: 0 });
      return undefined;
    },
    asks: byMaker,
    is: refused('DEVICE_NOT_ALLOWED'),
  },
  'a software key where the group asks for a TPM': {
    policy: { proof: 'tpm' },
    before: () => registered(),
    asks: { deviceId: id },
    is: refused('ATTESTATION_REQUIRED'),
  },
  'a software key of a device that has shown a TPM before': {
    before: async () => {
      const ticket = await registered();
      await world.store.write(({ devices }) => devices.update(id, { proofLevel: 'tpm' }));
      return ticket;
    },
    asks: { deviceId: id },
    is: refused('ATTESTATION_REQUIRED'),
  },
  'a bound CSR where the group asks for that': {
    policy: { binding: 'required' },
    before: () => registered(),
    asks: { deviceId: id, bound: true },
    request: BOUND,
    is: ISSUED,
  },
  'a CSR that is not bound': {
    policy: { binding: 'required' },
    before: () => registered(),
    asks: { deviceId: id },
    is: refused('CSR_BINDING_REQUIRED'),
  },
};

describe('what a request would get is what it gets', () => {
  it.each(Object.entries(CASES))('%s', async (_, { policy = {}, before, asks, request, is }) => {
    await changePolicy(world, policy);
    const ticket = await before?.();
    const told = await testGroup(world, { name: 'default', ...asks });
    expect({ outcome: told.outcome, code: told.code }).toEqual(is);
    const credentials = { by: 'ticket', deviceId: id, ticket: ticket ?? '' } as const;
    const byTicket = ticket === undefined ? {} : { credentials };
    expect(await became(askWith(world, maker.device(id), newKey(), { ...byTicket, ...request }))).toEqual(is);
  });
});

describe('what was not said is not judged', () => {
  it('from where it asks', async () => {
    await changePolicy(world, { networks: ['10.1.0.0/16'] });
    await register(world, 'press-07');
    const told = await testGroup(world, { name: 'default', deviceId: parseDeviceId('press-07') });
    expect(told).toMatchObject({ outcome: 'issued' });
    expect(told.rules.find(({ rule }) => rule === 'network')).toMatchObject({
      outcome: 'not checked',
      detail: expect.stringContaining('10.1.0.0/16'),
    });
  });
});

describe('what cannot come is refused', () => {
  it.each([
    ['by ticket, a device that is not registered', 'default', 'ticket', 'DEVICE_UNKNOWN'],
    ['by its maker, where none is trusted', 'bare', 'manufacturer', 'MANUFACTURER_UNTRUSTED'],
    ['by a registrar, where there is none', 'bare', 'registrar', 'REGISTRAR_NOT_ALLOWED'],
  ] as const)('%s', async (_, name, grounds, code) => {
    await newGroup(world, 'bare', { approval: 'auto' });
    await changePolicy(world, { approval: 'auto' });
    expect(await testGroup(world, { name, grounds })).toMatchObject({ outcome: 'refused', code });
  });
});
