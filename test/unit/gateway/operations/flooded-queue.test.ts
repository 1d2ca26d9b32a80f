import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { MAX_WAITING_REQUESTS, MAX_WAITING_REQUESTS_OF_GROUP } from '#gateway/domain/enrollment-request.ts';
import { tellRefusal } from '#gateway/operations/csr-refusals.ts';
import { approveEnrollment, refuseEnrollment } from '#gateway/operations/decide-requests.ts';
import { askWith } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, type Maker, newGroup, trust } from '#test/fixtures/gateway/makers.ts';
import { newKey, openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let maker: Maker;
beforeEach(async () => {
  world = await openWorld();
  maker = createMaker(world);
  await newGroup(world, 'honest', { approval: 'manual' });
  await trust(world, maker.intermediate, 'honest');
});
afterEach(() => world.close());

it('a queue flooded by other groups is bounded in all, says so, and keeps the oldest until a person has decided', async () => {
  const key = newKey();
  const first = maker.device('SN-1');
  await expect(askWith(world, first, key)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
  const [oldest] = await world.store.read.enrollmentRequests.list({ limit: 2 });
  if (oldest === undefined) throw new Error('nothing waits');
  await world.store.write(async ({ enrollmentRequests }) => {
    for (let count = 1; count < MAX_WAITING_REQUESTS; count += 1) {
      const group = `flood-${Math.floor(count / MAX_WAITING_REQUESTS_OF_GROUP)}`;
      const filler = { id: `a-${count}`, deviceId: parseDeviceId(`filler-${count}`), group };
      await enrollmentRequests.insert({ ...oldest, ...filler, askedAt: oldest.askedAt + count });
    }
  });

  const refusal = await askWith(world, maker.device('SN-2')).catch((error: unknown) => error);
  expect(tellRefusal(refusal)).toMatchObject({
    status: 503,
    code: 'APPROVAL_QUEUE_FULL',
    transient: true,
    retryAfter: 300,
    detail: expect.stringContaining('gatehouse enrollment list'),
  });
  expect(await world.store.read.enrollmentRequests.countWaiting()).toBe(MAX_WAITING_REQUESTS);

  await expect(askWith(world, first, key)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
  await approveEnrollment(world, { id: oldest.id, actor: 'anna' });
  expect((await askWith(world, first, key)).givenAgain).toBe(false);
  // Each decision makes room for one.
  await expect(askWith(world, maker.device('SN-2'))).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
  await expect(askWith(world, maker.device('SN-3'))).rejects.toMatchObject({ code: 'APPROVAL_QUEUE_FULL' });
  await refuseEnrollment(world, { id: 'a-7', reason: 'not ours', actor: 'anna' });
  await expect(askWith(world, maker.device('SN-3'))).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
});
