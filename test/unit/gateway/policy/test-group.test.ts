import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addDevice } from '#gateway/operations/add-device.ts';
import { addGroup } from '#gateway/operations/manage-groups.ts';
import { type TestGroupOrder, testGroup } from '#gateway/operations/test-group.ts';
import type { PolicyVerdict } from '#gateway/ports/policy-webhook.ts';
import { openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let verdict: PolicyVerdict | Error = { decision: 'allow', reason: null };

const test = (order: Partial<TestGroupOrder> = {}) => {
  const webhook = {
    ask: async () => {
      if (verdict instanceof Error) throw verdict;
      return verdict;
    },
  };
  return testGroup({ ...world, webhook }, { name: 'pumps', ...order });
};
const ruleOf = (tested: Awaited<ReturnType<typeof test>>, name: string) =>
  tested.rules.find(({ rule }) => rule === name);

beforeAll(async () => {
  world = await openWorld();
  const change = {
    networks: ['10.1.0.0/16'],
    deviceIdPattern: 'pump-*',
    proof: 'tpm' as const,
    webhook: 'https://policy.example/',
  };
  await addGroup(world, { name: 'pumps', change, actor: 'test' });
  await addDevice(world, { deviceId: parseDeviceId('pump-17'), group: 'pumps', actor: 'test' });
});
afterAll(() => world.close());

it('says that a good request of a registered device would be granted, and that a webhook would be asked', async () => {
  const tested = await test({ deviceId: parseDeviceId('pump-17'), proofLevel: 'tpm', address: '10.1.9.9' });
  expect(tested).toMatchObject({ outcome: 'issued', code: null });
  expect(ruleOf(tested, 'webhook')).toMatchObject({ outcome: 'not checked' });
});

it('names the rule that refuses, and shows the others too', async () => {
  const tested = await test({ deviceId: parseDeviceId('pump-17'), proofLevel: 'tpm', address: '10.2.0.1' });
  expect(tested).toMatchObject({ outcome: 'refused', code: 'NETWORK_NOT_ALLOWED' });
  expect(ruleOf(tested, 'network')).toMatchObject({ outcome: 'refused' });
  expect(ruleOf(tested, 'approval')).toMatchObject({ outcome: 'passed' });
});

it('judges a device that is not registered as a stranger', async () => {
  const tested = await test({ deviceId: parseDeviceId('pump-99'), proofLevel: 'tpm', address: '10.1.0.1' });
  expect(tested).toMatchObject({ outcome: 'refused', code: 'DEVICE_UNKNOWN' });
});

it('asks the webhook when told to, and tells what it says', async () => {
  const order = {
    deviceId: parseDeviceId('pump-17'),
    proofLevel: 'tpm' as const,
    address: '10.1.0.1',
    askWebhook: true,
  };
  verdict = { decision: 'deny', reason: 'stolen' };
  expect(await test(order)).toMatchObject({ outcome: 'refused', code: 'POLICY_WEBHOOK_REFUSED' });
  verdict = { decision: 'ask a person', reason: null };
  expect(await test(order)).toMatchObject({ outcome: 'waits for approval', code: 'APPROVAL_PENDING' });
  verdict = new Error('no route');
  expect(await test(order)).toMatchObject({ outcome: 'refused', code: 'POLICY_WEBHOOK_UNAVAILABLE' });
});

it('refuses a group it does not know and a device of another group', async () => {
  await expect(test({ name: 'valves' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(
    testGroup(
      { ...world, webhook: { ask: async () => ({ decision: 'allow', reason: null }) } },
      {
        name: 'default',
        deviceId: parseDeviceId('pump-17'),
      },
    ),
  ).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
});

it('takes no group by the name of an EST operation: its label would mean that', async () => {
  for (const name of ['cacerts', 'simpleenroll', 'renewal-info', 'tpm-challenge']) {
    await expect(addGroup(world, { name, change: {}, actor: 'test' })).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message: expect.stringContaining('operation of EST'),
    });
  }
});

it('takes no policy whose rules cannot be read', async () => {
  for (const change of [
    { networks: ['plant 7'] },
    { hours: ['at night'] },
    { deviceIdPattern: 'pump 17' },
    { webhook: 'http://policy.example/' },
    { serverKeygen: true, proof: 'tpm' as const },
  ]) {
    await expect(addGroup(world, { name: 'bad', change, actor: 'test' })).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
    });
  }
});
