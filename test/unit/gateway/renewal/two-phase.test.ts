import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { AuditBudget } from '#gateway/domain/audit-budget.ts';
import { supersedeOlder } from '#gateway/operations/activate-certificate.ts';
import { showDevice } from '#gateway/operations/list-devices.ts';
import { orderRenewal } from '#gateway/operations/order-renewal.ts';
import { receiveDeviceMessage } from '#gateway/operations/receive-device-message.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import {
  ARRIVAL,
  connectDevice,
  csrOf,
  DAY,
  enroll,
  HOUR,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let current: Awaited<ReturnType<typeof enroll>>;
const press = parseDeviceId('press-07');

beforeEach(async () => {
  world = await openWorld();
  current = await enroll(world, 'press-07', await register(world, 'press-07'));
  await connectDevice(world, current.der);
});
afterEach(() => world.close());

async function renew(): Promise<Buffer> {
  world.clock.at += 1000;
  const csr = await csrOf(newKey(), { renews: current.der });
  const { certificate } = await reenrollDevice(world, {
    attemptId: 'a-00000000000000aa',
    ...ARRIVAL,
    peer: current.der,
    csr,
  });
  return certificate;
}

async function report(state: object): Promise<void> {
  const session = { deviceId: press, serial: current.serial as never, address: '10.0.0.1', since: world.clock.at };
  const payload = { version: 1, connected: true, agentVersion: '1', serial: current.serial, ...state };
  await receiveDeviceMessage(world, session, 'state', Buffer.from(JSON.stringify(payload)));
  await world.background.flush();
}

it('revokes what a renewal brought and nobody used, and the device goes on with what it has', async () => {
  await renew();
  world.clock.at += HOUR + 1000;
  await sweep(world);
  const certificates = await world.store.read.certificates.listByDevice(press);
  expect(certificates.map(({ state }) => state)).toEqual(['revoked', 'active']);
  expect(certificates[1]?.renewFrom).not.toBeNull();
  const { serial } = await connectDevice(world, current.der);
  expect(serial).toBe(current.serial);
  // And renews another time.
  await connectDevice(world, await renew());
  const states = (await world.store.read.certificates.listByDevice(press)).map(({ state }) => state);
  expect(states).toEqual(['active', 'revoked', 'active']);
});

it('leaves nothing in memory of what was replaced, once it has expired', async () => {
  const replaced = current.serial as never;
  const young = await renew();
  await connectDevice(world, young);
  await supersedeOlder(world, parseCertificate(young).serial as never);
  expect(world.denySet.has(replaced)).toBe(true);
  world.clock.at += 6 * DAY;
  world.denySet.prune(world.clock.at);
  expect(world.denySet.has(replaced)).toBe(true);
  world.clock.at += 3 * DAY;
  world.denySet.prune(world.clock.at);
  expect(world.denySet.size).toBe(0);
});

it('shows that a device went back from a certificate that did not work, until a renewal succeeds', async () => {
  const { serial } = parseCertificate(await renew());
  const rolledBack = { serial, reason: 'the broker refuses this certificate', at: world.clock.at };
  await report({ run: '0123456789abcdef', count: 1, rolledBack });
  await report({ run: '0123456789abcdef', count: 2, rolledBack });
  expect(await showDevice(world, press)).toMatchObject({ rolledBack });
  const audit = await world.store.read.audit.list({ action: 'certificate.rolled-back', limit: 10 });
  expect(audit).toMatchObject([
    { actor: 'device:press-07', outcome: 'failed', detail: expect.stringContaining('refuses') },
  ]);
  await report({ run: '0123456789abcdef', count: 3 });
  expect(await showDevice(world, press)).toMatchObject({ rolledBack: null });
});

it('lets no device write the past of the audit, nor another’s story, nor fill it', async () => {
  const lie = { reason: 'it was not me', at: 1 };
  await report({ rolledBack: { ...lie, serial: 'ab'.repeat(16) } });
  const other = await enroll(world, 'press-08', await register(world, 'press-08'));
  await report({ rolledBack: { ...lie, serial: other.serial } });
  const rolledBack = () => world.store.read.audit.list({ action: 'certificate.rolled-back', limit: 1000 });
  expect(await rolledBack()).toEqual([]);
  const own = [current.serial, parseCertificate(await renew()).serial];
  world.refusals = new AuditBudget({ burst: 5, perSecond: 0, maxKeys: 10 });
  for (let count = 0; count < 20; count += 1) await report({ count, rolledBack: { ...lie, serial: own[count % 2] } });
  const written = await rolledBack();
  expect(written).toHaveLength(5);
  for (const { at } of written) expect(at).toBe(world.clock.at);
});

it.each([
  7,
  null,
  {},
  { serial: 1, reason: 'x', at: 1 },
  { serial: 'ab', reason: 'x', at: 'now' },
  { serial: 'ab', reason: 'x', at: -1 },
])('takes %j for no word of a certificate that did not work', async (rolledBack) => {
  await report({ run: '0123456789abcdef', count: 1, rolledBack });
  expect(await showDevice(world, press)).toMatchObject({ rolledBack: null });
  expect(await world.store.read.audit.list({ action: 'certificate.rolled-back', limit: 10 })).toEqual([]);
});

it('an order names the certificate that goes on, not another one that was renewed with the same and came later', async () => {
  const first = await renew();
  const second = await renew();
  await connectDevice(world, first);
  await connectDevice(world, second);
  const { serial } = await orderRenewal(world, { deviceId: press, actor: 'test' });
  expect(serial).toBe(parseCertificate(first).serial);
});
