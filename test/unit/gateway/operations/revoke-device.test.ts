import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { isSerialNumber } from '#ca/pkix/serial-number.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice } from '#gateway/contract/notice.ts';
import { deliverPendingNotices } from '#gateway/operations/deliver-notices.ts';
import { showDevice } from '#gateway/operations/list-devices.ts';
import { orderRenewal } from '#gateway/operations/order-renewal.ts';
import { receiveDeviceMessage } from '#gateway/operations/receive-device-message.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import {
  connectDevice,
  DAY,
  enroll,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';
import { watchWaits } from '#test/fixtures/gateway/revocation-world.ts';

let world: World;
let serial: string;
let der: Buffer;
const press = parseDeviceId('press-07');

beforeEach(async () => {
  world = await openWorld();
  ({ serial, der } = await enroll(world, 'press-07', await register(world, 'press-07')));
  await connect();
});
afterEach(() => world.close());

function connect() {
  return connectDevice(world, der);
}

function goOnline(): void {
  if (!isSerialNumber(serial)) throw new Error('a serial number');
  world.broker.connect({ id: 1, deviceId: press, serial, address: '127.0.0.1', since: world.clock.now() });
}

function read(token: string) {
  return parseNotice(parseCompactJws(token).payload);
}

const order = { deviceId: press, actor: 'test', becomes: 'revoked' } as const;

describe('revoking a device', () => {
  it('revokes everything it could come back with, in one transaction', async () => {
    const { serials } = await revokeDevice(world, { ...order, reason: 'cessationOfOperation', requestedAt: 0 });
    expect(serials).toEqual([serial]);
    expect(await world.store.read.certificates.find(serial)).toMatchObject({
      state: 'revoked',
      revocationReason: 'cessationOfOperation',
    });
    expect((await world.store.read.devices.find(press))?.state).toBe('revoked');
    await expect(connect()).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    const actions = (await world.store.read.audit.list({ subject: 'press-07', limit: 50 })).map(({ action }) => action);
    expect(actions).toContain('certificate.revoked');
    expect(actions).toContain('device.revoked');
  });

  it('waits for the device to acknowledge, then closes its session and measures it', async () => {
    goOnline();
    world.broker.onNotice = (deviceId, token) => {
      const notice = read(token);
      expect(notice).toMatchObject({ kind: 'revoked', body: { serials: [serial], reason: 'superseded' } });
      expect(world.broker.closed).toHaveLength(0);
      void receiveDeviceMessage(
        world,
        { deviceId, serial: serial as never, address: '127.0.0.1', since: 1 },
        'ack',
        Buffer.from(JSON.stringify({ noticeId: notice?.id, outcome: 'done' })),
      );
    };
    const waits = watchWaits(world);
    const result = await revokeDevice(world, { ...order, reason: 'superseded', requestedAt: performance.now() });
    expect(result).toMatchObject({ sessionsClosed: 1, serials: [serial] });
    expect(waits).toEqual(['begun', 'acknowledged']);
    expect(result.closedAfterMs).toBeGreaterThan(0);
    expect(world.broker.closed).toMatchObject([{ reason: 'revoked: superseded' }]);
    expect(await world.store.read.revocations.find(serial as never)).toMatchObject({
      closedAfterMs: result.closedAfterMs,
    });
  });

  it('closes the session after a second when the device does not answer', async () => {
    goOnline();
    const result = await revokeDevice(world, { ...order, reason: 'superseded', requestedAt: performance.now() });
    expect(result.closedAfterMs).toBeGreaterThanOrEqual(990);
    expect(world.broker.closed).toHaveLength(1);
  });

  it('does not warn a stolen key', async () => {
    goOnline();
    const waits = watchWaits(world);
    const result = await revokeDevice(world, { ...order, reason: 'keyCompromise', requestedAt: performance.now() });
    expect(world.broker.sent).toHaveLength(0);
    expect(waits).toEqual([]);
    expect(result.sessionsClosed).toBe(1);
    expect((await showDevice(world, press)).notices).toEqual([]);
  });

  it('puts the serial on the CRL with its reason and tells the fleet', async () => {
    await revokeDevice(world, { ...order, reason: 'keyCompromise', requestedAt: 0 });
    const record = world.revocations.lists.full;
    const crl = parseCrl(record?.der ?? Buffer.alloc(0));
    expect(crl.number).toBe(record?.number);
    expect(JSON.stringify([...crl.revoked.keys()])).toContain(serial);
    const [fleet] = world.broker.fleet;
    expect(fleet?.topic).toBe('v1/fleet/revocations');
    expect(read(fleet?.token ?? '')).toMatchObject({
      deviceId: '*',
      seq: record?.number,
      body: { crlNumber: record?.number, full: true, since: 0, entries: [[serial, 1, expect.any(Number)]] },
    });
  });

  it('is harmless twice, and unknown devices are not found', async () => {
    await revokeDevice(world, { ...order, reason: 'superseded', requestedAt: 0 });
    expect(await revokeDevice(world, { ...order, reason: 'superseded', requestedAt: 0 })).toMatchObject({
      serials: [],
    });
    await expect(
      revokeDevice(world, { ...order, deviceId: parseDeviceId('nobody'), reason: 'superseded', requestedAt: 0 }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('stays revoked when the authority cannot sign the CRL: the next look does', async () => {
    world.authority.failure = 'unreachable';
    await revokeDevice(world, { ...order, reason: 'keyCompromise', requestedAt: 0 });
    await expect(connect()).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    expect(world.revocations.lists.full).toBeUndefined();
    world.authority.failure = 'none';
    await world.revocations.turn();
    expect(world.revocations.lists.full?.entries).toBe(1);
  });

  it('drops a CRL entry after a CRL made after the end of the certificate has listed it', async () => {
    await revokeDevice(world, { ...order, reason: 'keyCompromise', requestedAt: 0 });
    world.clock.at += 7 * DAY + 2000;
    await world.revocations.publish();
    expect(world.revocations.lists.full?.entries).toBe(1);
    world.clock.at += DAY;
    await world.revocations.publish();
    expect(world.revocations.lists.full?.entries).toBe(0);
  });
});

describe('ordering a renewal', () => {
  it('keeps the notice in the outbox until the device acknowledges it, over reconnects and restarts', async () => {
    const ordered = await orderRenewal(world, { deviceId: press, actor: 'test' });
    expect(ordered).toMatchObject({ delivered: false, serial });
    await world.restart();
    goOnline();
    expect(await deliverPendingNotices(world, press)).toBe(1);
    expect(await deliverPendingNotices(world, press)).toBe(1);
    expect((await showDevice(world, press)).notices).toMatchObject([
      { id: ordered.noticeId, kind: 'renew', seq: expect.any(Number), state: 'sent' },
    ]);
    const ack = (outcome: string) =>
      receiveDeviceMessage(
        world,
        { deviceId: press, serial: serial as never, address: '127.0.0.1', since: 1 },
        'ack',
        Buffer.from(JSON.stringify({ noticeId: ordered.noticeId, outcome })),
      );
    await ack('received');
    expect(await deliverPendingNotices(world, press)).toBe(1);
    await ack('done');
    expect(await deliverPendingNotices(world, press)).toBe(0);
    await ack('received');
    expect((await showDevice(world, press)).notices).toMatchObject([{ state: 'done' }]);
  });

  it('is signed anew when it has waited long: the certificate of the first signature may have ended', async () => {
    await orderRenewal(world, { deviceId: press, actor: 'test' });
    goOnline();
    await deliverPendingNotices(world, press);
    await deliverPendingNotices(world, press);
    world.clock.at += 2 * DAY;
    await deliverPendingNotices(world, press);
    const [first, second, third] = world.broker.sent.map(({ token }) => token);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
    expect(read(third ?? '')).toEqual(read(first ?? ''));
  });

  it('sends the open order again instead of stacking orders', async () => {
    const first = await orderRenewal(world, { deviceId: press, actor: 'test' });
    const second = await orderRenewal(world, { deviceId: press, actor: 'test' });
    expect(second.noticeId).toBe(first.noticeId);
  });

  it('ignores the acknowledgement of another device, and rubbish', async () => {
    const { noticeId } = await orderRenewal(world, { deviceId: press, actor: 'test' });
    const other = { deviceId: parseDeviceId('press-08'), serial: serial as never, address: '127.0.0.1', since: 1 };
    await receiveDeviceMessage(world, other, 'ack', Buffer.from(JSON.stringify({ noticeId, outcome: 'done' })));
    await receiveDeviceMessage(world, other, 'ack', Buffer.from('{'));
    await receiveDeviceMessage(world, other, 'state', Buffer.from('[]'));
    expect((await showDevice(world, press)).notices).toMatchObject([{ state: 'outbox' }]);
  });

  it('is refused for a device without an active certificate', async () => {
    await register(world, 'press-08');
    await expect(orderRenewal(world, { deviceId: parseDeviceId('press-08'), actor: 'test' })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
  });
});
