import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { admitSession } from '#gateway/operations/admit-session.ts';
import { approveEnrollment, refuseEnrollment } from '#gateway/operations/decide-requests.ts';
import { receiveDeviceMessage } from '#gateway/operations/receive-device-message.ts';
import { recordCertificateRevocation } from '#gateway/operations/record-certificate-revocation.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import {
  ARRIVAL,
  changePolicy,
  connectDevice,
  csrOf,
  DAY,
  type DeviceKey,
  enroll,
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
  await changePolicy(world, { graceSeconds: 30 * 86_400, graceDecision: 'auto' });
  current = await enroll(world, 'press-07', await register(world, 'press-07'));
  await connectDevice(world, current.der);
  await world.store.write(({ sessions }) =>
    sessions.open(press, { serial: current.serial, address: '127.0.0.1', since: world.clock.at }),
  );
  world.clock.at += 8 * DAY;
});
afterEach(() => world.close());

async function reenroll(
  key: DeviceKey = newKey(),
  change: { peer?: Buffer; address?: string; door?: 'est' | 'mqtt' } = {},
) {
  const peer = change.peer ?? current.der;
  const csr = await csrOf(key, { renews: peer });
  return reenrollDevice(world, { attemptId: nodeRandomness.id('a'), ...ARRIVAL, ...change, peer, csr });
}

const auditOf = async (action: string) =>
  (await world.store.read.audit.list({ limit: 100 })).filter((event) => event.action === action);

describe('a certificate that has expired', () => {
  it.each(['est', 'mqtt'] as const)(
    'gets its successor over %s, with the score in the audit, and opens nothing else',
    async (door) => {
      await sweep(world);
      const { certificate } = await reenroll(newKey(), { door });
      expect((await auditOf('enrollment.approved'))[0]?.detail).toMatch(/expired lane, score \d+/);
      // A session that may ask for the next one, until the grace ends: none of the device.
      const request = { der: current.der, chain: () => [], hasExpired: true, clientId: 'press-07', keepalive: 60 };
      expect(await admitSession(world, { ...request, address: '127.0.0.1' })).toMatchObject({
        kind: 'enrollment',
        grounds: 'expired',
        serial: current.serial,
        notAfter: parseCertificate(current.der).notAfter + 30 * DAY,
      });
      await connectDevice(world, certificate);
      // The copy of the old key that somebody made has no lane any more.
      await expect(reenroll()).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
      await expect(connectDevice(world, current.der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    },
  );

  it('gets the same again when the answer was lost', async () => {
    const key = newKey();
    const first = await reenroll(key);
    expect(await reenroll(key)).toEqual({ certificate: first.certificate, givenAgain: true });
  });

  it('waits for a person when it comes from another network, and is asked for once', async () => {
    const key = newKey();
    const far = { address: '192.0.2.9' };
    await expect(reenroll(key, far)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    await expect(reenroll(key, far)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    const [request, another] = await world.store.read.enrollmentRequests.list({ limit: 10 });
    expect(another).toBeUndefined();
    expect(request).toMatchObject({ state: 'waiting', grounds: `expired:${current.serial}` });
    await approveEnrollment(world, { id: request?.id ?? '', actor: 'test' });
    const { certificate } = await reenroll(key, far);
    await connectDevice(world, certificate);
    expect((await world.store.read.enrollmentRequests.find(request?.id ?? ''))?.state).toBe('used');
  });

  it('is refused with the key that a person has refused', async () => {
    await changePolicy(world, { graceDecision: 'approval' });
    const key = newKey();
    await expect(reenroll(key)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    const [request] = await world.store.read.enrollmentRequests.list({ limit: 10 });
    await refuseEnrollment(world, { id: request?.id ?? '', reason: 'stolen', actor: 'test' });
    await expect(reenroll(key)).rejects.toMatchObject({ code: 'APPROVAL_REFUSED' });
  });

  it.each([
    ['in a group without grace', () => changePolicy(world, { graceSeconds: 0 })],
    ['in a group that refuses', () => changePolicy(world, { graceDecision: 'refuse' })],
    ['after the grace', async () => void (world.clock.at += 30 * DAY)],
  ])('is refused %s', async (_, arrange) => {
    await arrange();
    await expect(reenroll()).rejects.toMatchObject({ code: 'CERTIFICATE_EXPIRED' });
    expect((await auditOf('enrollment.refused'))[0]).toMatchObject({ code: 'CERTIFICATE_EXPIRED' });
  });

  it.each(['quarantined', 'held', 'retired', 'revoked'] as const)(
    'is refused to a device that is %s',
    async (state) => {
      await world.store.write(({ devices }) => devices.update(press, { state }));
      await expect(reenroll()).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    },
  );

  it('is refused after the device was revoked while it was away', async () => {
    const order = { reason: 'keyCompromise', becomes: 'revoked', requestedAt: performance.now() } as const;
    await revokeDevice(world, { deviceId: press, actor: 'test', ...order });
    await expect(reenroll()).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    expect(await world.store.read.certificates.listByDevice(press)).toHaveLength(1);
  });
});

const report = (clock: number) =>
  receiveDeviceMessage(
    world,
    { deviceId: press, serial: current.serial as never, address: '127.0.0.1', since: 1 },
    'state',
    Buffer.from(JSON.stringify({ version: 1, connected: true, serial: current.serial, agentVersion: '1', clock })),
  );
const timeNotices = async () =>
  (await world.store.read.notices.listByDevice(press, 10)).filter(({ kind }) => kind === 'time');

describe('the time', () => {
  it('is told to a device whose report shows a wrong clock, once', async () => {
    await report(world.clock.at + 9 * 60_000);
    expect(await timeNotices()).toEqual([]);
    await report(0);
    await report(0);
    expect(await timeNotices()).toHaveLength(1);
  });

  it('numbers notices above all that were sent before an older copy was restored', async () => {
    await report(0);
    const [notice] = await timeNotices();
    expect(notice?.seq).toBeGreaterThanOrEqual(world.clock.at);
  });
});

it('has no lane any more once an operator has revoked it by its serial, although it had ended', async () => {
  await sweep(world);
  const serial = current.serial as SerialNumber;
  const order = { serial, reason: 'keyCompromise' as const, actor: 'test' };
  const { store, clock } = world;
  await store.write((tables) => recordCertificateRevocation(tables, world, order, clock.now()));
  await expect(reenroll()).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
});
