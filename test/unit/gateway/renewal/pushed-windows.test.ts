import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice, type RenewBody } from '#gateway/contract/notice.ts';
import { keepRenewalPlan } from '#gateway/operations/keep-renewal-plan.ts';
import { orderRenewal } from '#gateway/operations/order-renewal.ts';
import { queueNotice } from '#gateway/operations/queue-notice.ts';
import { receiveDeviceMessage } from '#gateway/operations/receive-device-message.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { WindowTeller } from '#gateway/operations/tell-window.ts';
import {
  connectDevice,
  DAY,
  enroll,
  HOUR,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

const PATIENCE = 10_000;

let world: World;
let uptime: number;
let windows: WindowTeller;
beforeEach(async () => {
  world = await openWorld();
  uptime = 0;
  world.clock.monotonic = () => uptime;
  windows = new WindowTeller(world);
});
afterEach(() => world.close());

/** A device that is connected and listens. */
async function online(id = 'press-07') {
  const deviceId = parseDeviceId(id);
  const { der } = await enroll(world, id, await register(world, id));
  await connectDevice(world, der, id);
  const { serial } = parseCertificate(der);
  const session = { deviceId, serial: serial as SerialNumber, address: '192.0.2.7', since: world.clock.at };
  world.broker.connect({ ...session, id: world.broker.sessions().length });
  windows.listens(session);
  return session;
}

type Online = Awaited<ReturnType<typeof online>>;

async function windowOf({ serial }: Online): Promise<{ start: number; end: number }> {
  const record = await world.store.read.certificates.find(serial);
  return { start: record?.renewFrom ?? 0, end: record?.renewUntil ?? 0 };
}

async function moveWindow({ serial }: Online, start: number): Promise<void> {
  await world.store.write((tables) =>
    tables.certificates.update(serial, { renewFrom: start, renewUntil: start + 60_000 }),
  );
}

async function report(session: Online, nextRenewalAt: number | null | undefined, serial: string = session.serial) {
  const clock = world.clock.at;
  const state = { version: 1, connected: true, agentVersion: '1', serial, clock, nextRenewalAt };
  await receiveDeviceMessage({ ...world, windows }, session, 'state', Buffer.from(JSON.stringify(state)));
  await world.background.flush();
}

async function patient(milliseconds = PATIENCE + 1): Promise<void> {
  uptime += milliseconds;
  world.clock.at += milliseconds;
  await windows.turn();
}

/** What it was sent on its topic of notices, in order. */
function told({ deviceId }: Online): RenewBody[] {
  return world.broker.sent.flatMap((sent) => {
    const notice = parseNotice(parseCompactJws(sent.token).payload);
    return sent.deviceId === deviceId && notice?.kind === 'renew' ? [notice.body] : [];
  });
}

/** The authority was away while these windows passed; the sessions lived on. */
async function outage(...sessions: Online[]): Promise<void> {
  await keepRenewalPlan(world);
  await windows.turn();
  for (const session of sessions) await moveWindow(session, world.clock.at + HOUR);
  world.clock.at += 2 * HOUR;
  expect(await keepRenewalPlan(world)).toBe(sessions.length);
}

describe('the window of a certificate', () => {
  it('is not told to a device whose report shows that it knows it: no row is written', async () => {
    const press = await online();
    const { start, end } = await windowOf(press);
    for (const moment of [start, (start + end) / 2, end]) await report(press, moment);
    await patient();
    expect(told(press)).toEqual([]);
    expect(await world.store.read.notices.countUnfinished()).toBe(0);
  });

  it.each<[string, (window: { start: number; end: number }) => number | null]>([
    ['sooner than planned', ({ start }) => start - HOUR],
    ['later than planned', ({ end }) => end + HOUR],
    ['never', () => null],
  ])('is told by a signed notice to one that means to renew %s, at once', async (_, moment) => {
    const press = await online();
    const window = await windowOf(press);
    await report(press, moment(window));
    const { serial } = press;
    expect(told(press)).toEqual([{ serial, suggestedWindow: window, reason: 'planned', rekey: false, planned: true }]);
  });

  it('is told to a client that listens and reports nothing, once it has had the time to report', async () => {
    const press = await online();
    await patient(PATIENCE - 1);
    expect(told(press)).toEqual([]);
    await patient(2);
    expect(told(press)).toMatchObject([{ suggestedWindow: await windowOf(press), planned: true }]);
    await patient();
    expect(told(press)).toHaveLength(1);
  });

  it('is told to an agent of a version that does not say when it renews, as to one that reports nothing', async () => {
    const press = await online();
    await report(press, undefined);
    await patient();
    expect(told(press)).toHaveLength(1);
  });

  it('is not told to who has gone meanwhile', async () => {
    const press = await online();
    await world.broker.close(world.broker.sessionsOf(press.deviceId), 'disconnected');
    await patient();
    expect(await world.store.read.notices.countUnfinished()).toBe(0);
  });

  it('is told once, not at each report, to a device that keeps to another moment; again after a day', async () => {
    const press = await online();
    const { start } = await windowOf(press);
    for (let i = 0; i < 5; i += 1) await report(press, start - HOUR);
    expect(told(press)).toHaveLength(1);
    world.clock.at += DAY + 1;
    await report(press, start - HOUR);
    expect(told(press)).toHaveLength(2);
  });

  it.each(['once a day', 'not beside an order'])('is told %s also behind many notices of other kinds', async (how) => {
    const press = await online();
    const { deviceId } = press;
    const { start } = await windowOf(press);
    if (how === 'once a day') await report(press, start - HOUR);
    else await orderRenewal(world, { deviceId, actor: 'test' });
    for (let i = 0; i < 25; i += 1) {
      const notice = { kind: 'time', body: { time: 1 } } as const;
      const order = { deviceId, notice, now: world.clock.at, life: 60_000, actor: 'test' };
      await world.store.write((tables) => queueNotice(tables, world, order));
    }
    await report(press, start - HOUR);
    const renews = await world.store.read.notices.listByDevice(deviceId, 100, 'renew');
    expect(renews).toHaveLength(1);
  });

  it('is told to those who wait behind one that comes again and again with another certificate', async () => {
    const odd = await online('odd-1');
    const other = '0'.repeat(32) as SerialNumber;
    const press = await online();
    for (const serial of [other, odd.serial, other]) {
      await patient(4000);
      windows.listens({ ...odd, serial });
    }
    await patient(1);
    expect(told(press)).toHaveLength(1);
  });

  it('is not told when it has passed, nor beside an order that is under way', async () => {
    const press = await online();
    await orderRenewal(world, { deviceId: press.deviceId, actor: 'test' });
    await report(press, world.clock.at);
    expect(told(press).filter(({ planned }) => planned)).toEqual([]);
    const pump = await online('pump-17');
    const { start, end } = await windowOf(pump);
    world.clock.at = end;
    await report(pump, start - HOUR);
    expect(told(pump)).toEqual([]);
  });

  it('that was told and not acknowledged does not stand in for an order', async () => {
    const press = await online();
    const { start } = await windowOf(press);
    await report(press, start - HOUR);
    await orderRenewal(world, { deviceId: press.deviceId, actor: 'test' });
    expect(told(press).at(-1)).toMatchObject({ rekey: true, reason: 'ordered by an operator' });
    expect(told(press).at(-1)?.planned).toBeUndefined();
  });

  it('that moved takes the place of one that was not acknowledged yet', async () => {
    const press = await online();
    const { start } = await windowOf(press);
    await report(press, start - HOUR);
    await moveWindow(press, start + HOUR);
    await report(press, start - HOUR);
    expect(told(press).map(({ suggestedWindow }) => suggestedWindow.start)).toEqual([start, start + HOUR]);
    const unfinished = await world.store.read.notices.listUnfinished(press.deviceId, world.clock.at);
    expect(unfinished).toHaveLength(1);
  });

  it('is not told for a report about another certificate than that of the session, nor to a revoked device', async () => {
    const press = await online();
    const { start } = await windowOf(press);
    await report(press, start - HOUR, '00');
    expect(told(press)).toEqual([]);
    const { deviceId } = press;
    await revokeDevice(world, { deviceId, reason: 'superseded', actor: 'test', requestedAt: 0, becomes: 'revoked' });
    await report(press, start - HOUR);
    expect(told(press)).toEqual([]);
  });
});

describe('windows that were planned anew', () => {
  it('are told to the devices that are connected, and to no others', async () => {
    const [press, pump, valve] = [await online(), await online('pump-17'), await online('valve-1')];
    for (const each of [press, pump, valve]) await report(each, (await windowOf(each)).start);
    await world.broker.close(world.broker.sessionsOf(pump.deviceId), 'disconnected');
    await outage(press, pump);
    await windows.turn();
    expect(told(press)).toMatchObject([{ suggestedWindow: await windowOf(press), planned: true }]);
    expect(told(pump)).toEqual([]);
    expect(told(valve)).toEqual([]);
    await windows.turn();
    expect(told(press)).toHaveLength(1);
  });

  it('are told by another process on the database, whose sessions they concern', async () => {
    const press = await online();
    await report(press, (await windowOf(press)).start);
    const elsewhere = new WindowTeller({
      ...world,
      broker: Object.assign(Object.create(world.broker), { sessionsOf: () => [] }),
    });
    await elsewhere.turn();
    await outage(press);
    await elsewhere.turn();
    expect(told(press)).toEqual([]);
    await windows.turn();
    expect(told(press)).toHaveLength(1);
  });

  it('are told also when the clock was set back after others were', async () => {
    const press = await online();
    await report(press, (await windowOf(press)).start);
    await outage(press);
    await windows.turn();
    world.clock.at -= HOUR;
    await keepRenewalPlan(world);
    world.clock.at += HOUR / 4;
    await keepRenewalPlan(world);
    await moveWindow(press, world.clock.at + 60_000);
    world.clock.at += HOUR / 4;
    expect(await keepRenewalPlan(world)).toBe(1);
    await windows.turn();
    expect(told(press)).toHaveLength(2);
  });

  it('are told page by page, each once', async () => {
    const fleet: Online[] = [];
    for (let place = 0; place < 130; place += 1) fleet.push(await online(`press-${place}`));
    for (const each of fleet) await report(each, (await windowOf(each)).start);
    await outage(...fleet);
    await windows.turn();
    const first = fleet.filter((each) => told(each).length > 0).length;
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(fleet.length);
    await windows.turn();
    await windows.turn();
    expect(fleet.map((each) => told(each).length)).toEqual(fleet.map(() => 1));
  });
});
