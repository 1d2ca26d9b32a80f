import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { reconcileEnrollments } from '#gateway/operations/reconcile-enrollments.ts';
import { StoreError } from '#gateway/ports/store.ts';
import { enroll, newKey, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const press = parseDeviceId('press-07');

describe('an issuance that is interrupted', () => {
  it('before the authority got the order: the same request goes on, and nothing was issued twice', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    world.authority.failure = 'unreachable';
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject({
      code: 'AUTHORITY_UNAVAILABLE',
      retryAfter: 5,
    });
    world.authority.failure = 'none';
    await enroll(world, 'press-07', ticket, key);
    expect(await world.store.read.certificates.listByDevice(press)).toHaveLength(1);
  });

  it('after the authority signed: the same request gets that very certificate', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    world.authority.failure = 'answer lost';
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    const [begun] = await world.store.read.enrollments.listUnfinished(10);
    world.authority.failure = 'none';
    const { serial } = await enroll(world, 'press-07', ticket, key);
    expect(serial).toBe(begun?.serial);
  });

  it('after the authority signed, with a restart: the certificate is found again and recorded', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    world.authority.failure = 'answer lost';
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toThrow();
    world.authority.failure = 'none';
    await world.restart();
    await reconcileEnrollments(world, { settled: true });
    const [found] = await world.store.read.certificates.listByDevice(press);
    expect(found).toMatchObject({ state: 'pending' });
    const again = await enroll(world, 'press-07', ticket, key);
    expect(again).toMatchObject({ givenAgain: true, serial: found?.serial });
  });

  it('before the authority got the order, with a restart: the intent is given up and the ticket is free for any key', async () => {
    const ticket = await register(world, 'press-07');
    world.authority.failure = 'unreachable';
    await expect(enroll(world, 'press-07', ticket)).rejects.toThrow();
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_SPENT' });
    world.authority.failure = 'none';
    await world.restart();
    await reconcileEnrollments(world, { settled: true });
    await expect(enroll(world, 'press-07', ticket)).resolves.toMatchObject({ givenAgain: false });
  });

  it('is left alone while its request may still be running', async () => {
    const ticket = await register(world, 'press-07');
    world.authority.failure = 'unreachable';
    await expect(enroll(world, 'press-07', ticket)).rejects.toThrow();
    world.authority.failure = 'none';
    await reconcileEnrollments(world, { settled: false });
    expect(await world.store.read.enrollments.listUnfinished(10)).toHaveLength(1);
    world.clock.at += 61_000;
    await reconcileEnrollments(world, { settled: false });
    expect(await world.store.read.enrollments.listUnfinished(10)).toHaveLength(0);
  });
});

describe('a database that cannot be written', () => {
  it('is told as such, to come back later, and nothing was half done', async () => {
    const ticket = await register(world, 'press-07');
    const write = world.store.write.bind(world.store);
    world.store.write = () => Promise.reject(new StoreError('UNAVAILABLE', 'disk full'));
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      retryAfter: 10,
    });
    world.store.write = write;
    await expect(enroll(world, 'press-07', ticket)).resolves.toMatchObject({ givenAgain: false });
  });
});
