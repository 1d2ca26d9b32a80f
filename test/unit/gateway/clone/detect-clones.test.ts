import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { isSerialNumber, type SerialNumber } from '#ca/pkix/serial-number.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice } from '#gateway/contract/notice.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { setCloneRules, showCloneRules } from '#gateway/operations/clone-rules-book.ts';
import { deliverPendingNotices } from '#gateway/operations/deliver-notices.ts';
import { watchRefusal, watchRefusals } from '#gateway/operations/detect-clones.ts';
import { listAlarms, resolveAlarm, showAlarm } from '#gateway/operations/manage-alarms.ts';
import { loadQuarantined, quarantineDevice } from '#gateway/operations/quarantine-device.ts';
import { recordCertificateRevocation } from '#gateway/operations/record-certificate-revocation.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { releaseQuarantine } from '#gateway/operations/release-quarantine.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import {
  ARRIVAL,
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
import { ReportingDevice, settled } from '#test/fixtures/gateway/reporting-device.ts';

const press = parseDeviceId('press-07');
const [HOME, AWAY] = ['192.0.2.1', '198.51.100.9'];

let world: World;
let der: Buffer;
let key: DeviceKey;
let serial: SerialNumber;
beforeEach(async () => {
  world = await openWorld();
  const enrolled = await enroll(world, 'press-07', await register(world, 'press-07'));
  if (!isSerialNumber(enrolled.serial)) throw new Error('a serial number');
  ({ der, key } = enrolled);
  serial = enrolled.serial;
  await connectDevice(world, der);
});
afterEach(() => world.close());

const deviceWith = (disk: { run: string; count?: number }) =>
  new ReportingDevice(world, { deviceId: press, serial }, disk);
const alarms = async () => (await listAlarms(world, { limit: 10 })).items;
const stateOf = async () => (await world.store.read.devices.find(press))?.state;

async function renew(peer = der): Promise<Buffer> {
  const csr = await csrOf(newKey(), { renews: peer });
  return (await reenrollDevice(world, { attemptId: 'a-0123456789abcdef', ...ARRIVAL, peer, csr })).certificate;
}

/** Two agents with one state folder, behind one address; each comes back when the other has pushed it out. */
async function copyAndStart(): Promise<{ original: ReportingDevice; copy: ReportingDevice }> {
  const original = deviceWith({ run: 'aaaaaaaaaaaaaaaa' });
  await original.comeAndReport(HOME);
  const copy = deviceWith({ run: 'bbbbbbbbbbbbbbbb', count: original.count });
  await original.report();
  await copy.comeAndReport(HOME);
  return { original, copy };
}

describe('two agents with one disk', () => {
  it('are noticed at the first report of the second, and quarantined with an alarm, an audit and a line in the log', async () => {
    await copyAndStart();
    expect(await alarms()).toMatchObject([
      { deviceId: 'press-07', kind: 'count went back', state: 'open', evidence: { serial, address: HOME, times: 1 } },
    ]);
    expect(await stateOf()).toBe('quarantined');
    expect([...world.quarantined]).toEqual(['press-07']);
    expect([...world.broker.quarantined]).toEqual(['press-07']);
    const actions = (await world.store.read.audit.list({ subject: 'press-07', limit: 20 })).map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(['alarm.raised', 'device.quarantined']));
    expect(world.log.lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        message: 'identity alarm',
        facts: expect.objectContaining({ deviceId: 'press-07' }),
      }),
    );
  });

  it('raise one alarm of a kind, however long they fight, and say that it goes on', async () => {
    const { original, copy } = await copyAndStart();
    for (let round = 0; round < 4; round += 1) {
      await original.comeAndReport(HOME, 40_000);
      await copy.comeAndReport(HOME, 40_000);
    }
    const open = await alarms();
    expect(open.map(({ kind }) => kind).toSorted()).toEqual(['count went back', 'two places']);
    expect(open.find(({ kind }) => kind === 'two places')?.evidence.times).toBeGreaterThan(1);
  });

  it('are told by a signed notice that only identity topics are left', async () => {
    await copyAndStart();
    const told = world.broker.sent.map(({ token }) => parseNotice(parseCompactJws(token).payload));
    // No TPM is on record: nobody is asked to prove anything.
    expect(told).toMatchObject([{ kind: 'quarantine', body: { active: true, reason: 'count went back' } }]);
  });

  it('come in, but get no other certificate, over EST or MQTT', async () => {
    const waiting = await renew();
    await copyAndStart();
    await expect(renew()).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    await expect(connectDevice(world, waiting)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    expect(await connectDevice(world, der)).toMatchObject({ deviceId: 'press-07', serial });
    const ticket = await register(world, 'press-08');
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject({ code: 'TICKET_OF_ANOTHER_DEVICE' });
  });

  it('stay in quarantine over a restart of the gateway', async () => {
    await copyAndStart();
    await world.restart();
    const loaded = { store: world.store, quarantined: new Set<typeof press>() };
    await loadQuarantined(loaded);
    expect([...loaded.quarantined]).toEqual(['press-07']);
  });

  it('are released by an operator: the alarms are resolved, and the device is told', async () => {
    await copyAndStart();
    const [alarm] = await alarms();
    const decision = 'restored from a backup, no copy';
    expect(await releaseQuarantine(world, { deviceId: press, decision, actor: 'ann' })).toEqual({
      deviceId: 'press-07',
      alarms: [alarm?.id],
    });
    expect(await showAlarm(world, alarm?.id ?? '')).toMatchObject({
      state: 'resolved',
      decision,
      resolvedBy: 'ann',
      resolvedAt: world.clock.at,
    });
    expect([await stateOf(), world.quarantined.size, world.broker.quarantined.size]).toEqual(['enrolled', 0, 0]);
    const last = world.broker.sent.at(-1);
    expect(parseNotice(parseCompactJws(last?.token ?? '').payload)).toMatchObject({
      kind: 'quarantine',
      body: { active: false, reason: decision },
    });
    await renew();
  });

  it('of which one is left after the release are not suspected again, whatever it counts', async () => {
    const { original } = await copyAndStart();
    await releaseQuarantine(world, { deviceId: press, decision: 'the copy is gone', actor: 'ann' });
    original.count = 0;
    await original.comeAndReport(HOME);
    await original.comeAndReport(AWAY);
    expect(await stateOf()).toBe('enrolled');
  });

  it('that both live on after the release are noticed again', async () => {
    const { original, copy } = await copyAndStart();
    await releaseQuarantine(world, { deviceId: press, decision: 'a guess', actor: 'ann' });
    await original.comeAndReport(HOME);
    await copy.comeAndReport(HOME);
    await original.comeAndReport(HOME);
    expect(await stateOf()).toBe('quarantined');
    expect((await alarms()).filter(({ state }) => state === 'open')).not.toEqual([]);
  });

  it('are shut out together when the device is revoked; what is enrolled then begins anew', async () => {
    await copyAndStart();
    await revokeDevice(world, {
      deviceId: press,
      reason: 'keyCompromise',
      actor: 'ann',
      becomes: 'revoked',
      requestedAt: 0,
    });
    expect(await stateOf()).toBe('revoked');
    await expect(connectDevice(world, der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    const { ticket } = await addTicket(world, { deviceId: press, actor: 'ann' });
    const anew = await enroll(world, 'press-07', ticket);
    await connectDevice(world, anew.der);
    expect([await stateOf(), world.quarantined.size]).toEqual(['enrolled', 0]);
    if (!isSerialNumber(anew.serial)) throw new Error('a serial number');
    const facts = { deviceId: press, serial: anew.serial };
    await new ReportingDevice(world, facts, { run: 'aaaaaaaaaaaaaaaa' }).comeAndReport(HOME);
    expect(await stateOf()).toBe('enrolled');
    // What it was about is over: nobody has to close it.
    const [alarm] = await alarms();
    expect(alarm).toMatchObject({
      state: 'resolved',
      decision: 'the device was revoked: keyCompromise',
      resolvedBy: 'ann',
    });
    await expect(resolveAlarm(world, { id: alarm?.id ?? '', decision: 'again', actor: 'ann' })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
  });
});

it('an alarm about a device closes when its last certificate is revoked', async () => {
  await setCloneRules(world, { change: { reaction: 'alarm' }, actor: 'ann' });
  await copyAndStart();
  const order = { serial, reason: 'superseded', actor: 'ann' } as const;
  await world.store.write((tables) => recordCertificateRevocation(tables, world, order, world.clock.at));
  expect(await stateOf()).toBe('revoked');
  expect(await alarms()).toMatchObject([
    { state: 'resolved', decision: 'its last certificate was revoked: superseded', resolvedBy: 'ann' },
  ]);
});

async function fight(rounds: number): Promise<void> {
  const [one, other] = [deviceWith({ run: 'x' }), deviceWith({ run: 'y' })];
  one.connect(HOME);
  for (let round = 0; round < rounds; round += 1) {
    other.connect(AWAY);
    one.connect(HOME);
  }
  await settled(world);
}

describe('two clients that do not report', () => {
  it('are noticed by how they push each other out', async () => {
    await fight(2);
    expect(await alarms()).toMatchObject([{ kind: 'take-over ping-pong', evidence: { address: HOME } }]);
    expect(await stateOf()).toBe('quarantined');
  });

  it('are given more time when the rules say so', async () => {
    await setCloneRules(world, { change: { pingPongTakeOvers: 20 }, actor: 'ann' });
    await fight(5);
    expect(await alarms()).toEqual([]);
  });

  it('are only told of when the rules say so', async () => {
    await setCloneRules(world, { change: { reaction: 'alarm' }, actor: 'ann' });
    await fight(2);
    expect(await alarms()).toHaveLength(1);
    expect([await stateOf(), world.quarantined.size]).toEqual(['enrolled', 0]);
    expect(await showCloneRules(world)).toMatchObject({ reaction: 'alarm', pingPongTakeOvers: 4 });
    expect(await world.store.read.audit.list({ action: 'clone-rules.changed', limit: 5 })).toHaveLength(1);
  });
});

describe('one device that roams between two networks', () => {
  it('is left alone when it says goodbye, or is noticed to be gone, before it comes from the other', async () => {
    const device = deviceWith({ run: 'aaaaaaaaaaaaaaaa' });
    for (let round = 0; round < 10; round += 1) {
      await device.comeAndReport(round % 2 === 0 ? HOME : AWAY);
      device.disconnect();
    }
    expect([await alarms(), await stateOf()]).toEqual([[], 'enrolled']);
  });

  it('is left alone when the gateway does not notice that it is gone, again and again', async () => {
    const device = deviceWith({ run: 'aaaaaaaaaaaaaaaa' });
    for (let round = 0; round < 20; round += 1) await device.comeAndReport(round % 2 === 0 ? HOME : AWAY, 500);
    expect([await alarms(), await stateOf()]).toEqual([[], 'enrolled']);
  });

  it('is left alone when it starts anew in between', async () => {
    const device = deviceWith({ run: 'aaaaaaaaaaaaaaaa' });
    for (let round = 0; round < 6; round += 1) {
      device.run = `${round}`.repeat(16);
      await device.comeAndReport(round % 2 === 0 ? HOME : AWAY, 300_000);
    }
    expect([await alarms(), await stateOf()]).toEqual([[], 'enrolled']);
  });

  it('keeps what it reported last', async () => {
    await deviceWith({ run: 'aaaaaaaaaaaaaaaa', count: 6 }).comeAndReport(HOME);
    const device = await world.store.read.devices.find(press);
    expect(device?.reportCount).toBe(7);
    expect(JSON.parse(device?.lastReport ?? '')).toMatchObject({ agentVersion: '1', serial, count: 7 });
  });
});

const refusal = () => ({ code: 'CERTIFICATE_SUPERSEDED', deviceId: press, serial, address: AWAY });

describe('a superseded certificate that is shown again', () => {
  let successor: SerialNumber;
  let renewed: Buffer;
  beforeEach(async () => {
    world.clock.at += 1000;
    renewed = await renew();
    const grant = await connectDevice(world, renewed);
    successor = grant.serial;
  });

  const reportWithSuccessor = () =>
    new ReportingDevice(world, { deviceId: press, serial: successor }, { run: 'aaaaaaaaaaaaaaaa' }).comeAndReport(HOME);

  it('is a copy when the device has said that it uses the successor', async () => {
    await reportWithSuccessor();
    await expect(connectDevice(world, der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    await watchRefusal(world, refusal());
    expect(await alarms()).toEqual([]);
    await watchRefusal(world, refusal());
    expect(await alarms()).toMatchObject([
      {
        kind: 'superseded certificate used',
        evidence: { address: AWAY, serial, detail: expect.stringContaining(successor) },
      },
    ]);
    expect(await stateOf()).toBe('quarantined');
  });

  it('is noticed at the EST door too, and refused there', async () => {
    await reportWithSuccessor();
    for (let i = 0; i < 2; i += 1) {
      await expect(watchRefusals(world, AWAY, () => renew())).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    }
    await settled(world);
    expect(await alarms()).toMatchObject([{ kind: 'superseded certificate used' }]);
  });

  it('may be the device itself as long as it has not said that it has switched, or a thief has renewed in its place', async () => {
    for (let i = 0; i < 5; i += 1) await watchRefusal(world, refusal());
    expect(await alarms()).toEqual([]);
    await watchRefusal(world, refusal());
    expect((await alarms())[0]?.evidence.detail).toContain('never reported');
    expect(await stateOf()).toBe('enrolled');
  });

  it('is told and no more when it has expired as well: an old key must not silence the device', async () => {
    world.clock.at += 5 * DAY;
    successor = (await connectDevice(world, await renew(renewed))).serial;
    await reportWithSuccessor();
    world.clock.at += 3 * DAY;
    await expect(connectDevice(world, der)).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    for (let i = 0; i < 4; i += 1) await watchRefusal(world, refusal());
    expect(await alarms()).toMatchObject([{ kind: 'superseded certificate used', evidence: { serial } }]);
    expect(await stateOf()).toBe('enrolled');
  });

  it('means nothing when the successor was revoked', async () => {
    await reportWithSuccessor();
    await world.store.write((tables) => tables.certificates.update(successor, { state: 'revoked' }));
    for (let i = 0; i < 5; i += 1) await watchRefusal(world, refusal());
    expect(await alarms()).toEqual([]);
  });

  it.each(['CERTIFICATE_REVOKED', 'CERTIFICATE_EXPIRED'])('is another matter than %s', async (code) => {
    await reportWithSuccessor();
    for (let i = 0; i < 5; i += 1) await watchRefusal(world, { ...refusal(), code });
    expect(await alarms()).toEqual([]);
  });
});

describe('a quarantine by hand', () => {
  it('limits the live session at once, and ends by hand', async () => {
    deviceWith({ run: 'a' }).connect(HOME);
    const order = { deviceId: press, reason: 'its card was copied', actor: 'ann' };
    expect(await quarantineDevice(world, order)).toEqual({ deviceId: 'press-07', sessionsLimited: 1 });
    expect([...world.broker.quarantined]).toEqual(['press-07']);
    await expect(quarantineDevice(world, order)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect(await releaseQuarantine(world, { deviceId: press, decision: 'found', actor: 'ann' })).toMatchObject({
      alarms: [],
    });
    await expect(releaseQuarantine(world, { deviceId: press, decision: 'found', actor: 'ann' })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
  });

  it('waits for a device that is away; one that ended meanwhile is not told any more', async () => {
    await quarantineDevice(world, { deviceId: press, reason: 'why', actor: 'ann' });
    await releaseQuarantine(world, { deviceId: press, decision: 'never mind', actor: 'ann' });
    deviceWith({ run: 'a' }).connect(HOME);
    expect(await deliverPendingNotices(world, press)).toBe(1);
    expect(parseNotice(parseCompactJws(world.broker.sent[0]?.token ?? '').payload)).toMatchObject({
      kind: 'quarantine',
      body: { active: false },
    });
  });

  it('is not for a device that nobody knows, or that is not enrolled', async () => {
    const order = { deviceId: parseDeviceId('nobody'), reason: 'x', actor: 'ann' };
    await expect(quarantineDevice(world, order)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await register(world, 'press-08');
    await expect(quarantineDevice(world, { ...order, deviceId: parseDeviceId('press-08') })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
  });
});
