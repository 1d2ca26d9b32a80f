import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import {
  MAX_WAITING_REQUESTS_OF_DEVICE,
  MAX_WAITING_REQUESTS_OF_GROUP,
  REQUEST_LIFE_MS,
} from '#gateway/domain/enrollment-request.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import {
  approveEnrollment,
  listEnrollmentRequests,
  refuseEnrollment,
  showEnrollmentRequest,
} from '#gateway/operations/decide-requests.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import { ask, askWith, waiting } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, type Maker, trust } from '#test/fixtures/gateway/makers.ts';
import {
  changePolicy,
  connectDevice,
  DAY,
  enroll,
  HOUR,
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
  await changePolicy(world, { approval: 'manual' });
});
afterEach(() => world.close());

const press = parseDeviceId('press-07');
const pump = parseDeviceId('SN-0007');

const PENDING = { code: 'APPROVAL_PENDING', retryAfter: 30 };

async function onlyWaiting() {
  const [request, another] = await waiting(world);
  if (request === undefined || another !== undefined) throw new Error('one request waits');
  return request;
}

describe('a first enrollment in a group where a person decides', () => {
  it('waits, shows who asks with which key, and gets its certificate once it is approved, and only then', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject(PENDING);
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject(PENDING);
    const request = await onlyWaiting();
    expect(request).toMatchObject({
      deviceId: 'press-07',
      group: 'default',
      grounds: expect.stringMatching(/^ticket:t-/),
      door: 'est',
      address: '127.0.0.1',
      keyKind: 'ec-p256',
      proofLevel: 'software',
      known: 'registered',
      state: 'waiting',
    });
    expect(await world.store.read.certificates.listByDevice(press)).toEqual([]);
    const approved = await approveEnrollment(world, { id: request.id, note: 'seen', actor: 'anna' });
    expect(approved).toMatchObject({ state: 'approved', decidedBy: 'anna', note: 'seen' });
    expect(world.broker.decided).toEqual(['press-07']);
    const { der, givenAgain } = await enroll(world, 'press-07', ticket, key);
    expect(givenAgain).toBe(false);
    expect(await enroll(world, 'press-07', ticket, key)).toMatchObject({ der, givenAgain: true });
    expect(await showEnrollmentRequest(world, request.id)).toMatchObject({ state: 'used' });
    await connectDevice(world, der);
  });

  it('is found again by device and key after a restart, decided or not', async () => {
    const shown = maker.device('SN-0007');
    const key = newKey();
    await expect(askWith(world, shown, key)).rejects.toMatchObject(PENDING);
    await world.restart();
    await expect(askWith(world, shown, key)).rejects.toMatchObject(PENDING);
    const { id } = await onlyWaiting();
    await approveEnrollment(world, { id, actor: 'anna' });
    await world.restart();
    await connectDevice(world, (await askWith(world, shown, key)).der, 'SN-0007');
  });

  it('goes on after a restart between the commit and the answer', async () => {
    const shown = maker.device('SN-0007');
    const key = newKey();
    await expect(askWith(world, shown, key)).rejects.toMatchObject(PENDING);
    await approveEnrollment(world, { id: (await onlyWaiting()).id, actor: 'anna' });
    world.authority.failure = 'answer lost';
    await expect(askWith(world, shown, key)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    await world.restart();
    world.authority.failure = 'none';
    const first = await askWith(world, shown, key);
    expect(await askWith(world, shown, key)).toMatchObject({ der: first.der, givenAgain: true });
  });

  it('registers an unknown device when it is approved', async () => {
    const key = newKey();
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    expect(await world.store.read.devices.find(pump)).toBeUndefined();
    const request = await onlyWaiting();
    expect(request).toMatchObject({ known: 'unknown', hardwareSerial: 'SN-0007' });
    expect(await approveEnrollment(world, { id: request.id, actor: 'anna' })).toMatchObject({ known: 'registered' });
    expect(await world.store.read.devices.find(pump)).toMatchObject({ group: 'default', hardwareSerial: 'SN-0007' });
    await askWith(world, maker.device('SN-0007'), key);
  });

  it('is approved for one key: another one waits again', async () => {
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject(PENDING);
    await approveEnrollment(world, { id: (await onlyWaiting()).id, actor: 'anna' });
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject(PENDING);
  });

  it('keeps its approval when the authority did not sign, and when the certificate lapsed or ended unused', async () => {
    const key = newKey();
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    const { id } = await onlyWaiting();
    await approveEnrollment(world, { id, actor: 'anna' });
    world.authority.refusal = 'PROFILE_REFUSED';
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    expect(await showEnrollmentRequest(world, id)).toMatchObject({ state: 'approved' });
    world.authority.refusal = undefined;
    const first = await askWith(world, maker.device('SN-0007'), key);
    world.clock.at += HOUR + 1;
    await sweep(world);
    await changePolicy(world, { lifetimeSeconds: 600, overlapSeconds: 60 });
    const second = await askWith(world, maker.device('SN-0007'), key);
    expect(second.serial).not.toBe(first.serial);
    world.clock.at += HOUR + 1;
    await sweep(world);
    expect(await showEnrollmentRequest(world, id)).toMatchObject({ state: 'approved' });
    await connectDevice(world, (await askWith(world, maker.device('SN-0007'), key)).der, 'SN-0007');
  });

  it('outlives its ticket while it waits, and when it was approved; no other key does', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject(PENDING);
    world.clock.at += 2 * DAY;
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject(PENDING);
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_EXPIRED' });
    await approveEnrollment(world, { id: (await onlyWaiting()).id, actor: 'anna' });
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_EXPIRED' });
    const first = await enroll(world, 'press-07', ticket, key);
    expect(await enroll(world, 'press-07', ticket, key)).toMatchObject({ der: first.der, givenAgain: true });
    await connectDevice(world, first.der);
  });

  it('says so once in the audit, however often it asks', async () => {
    const key = newKey();
    for (let i = 0; i < 5; i += 1) {
      await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
      world.clock.at += 30_000;
    }
    const events = await world.store.read.audit.list({ subject: pump, limit: 20 });
    expect(events.map(({ action }) => action)).toEqual(['enrollment.waiting']);
    expect(await onlyWaiting()).toMatchObject({ timesAsked: 5, lastAskedAt: world.clock.now() - 30_000 });
  });

  it('is still refused by the other rules of the group, before and after its approval', async () => {
    const key = newKey();
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    await approveEnrollment(world, { id: (await onlyWaiting()).id, actor: 'anna' });
    await changePolicy(world, { networks: ['10.0.0.0/8'] });
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject({ code: 'NETWORK_NOT_ALLOWED' });
    await changePolicy(world, { networks: [], webhook: 'https://policy.example/' });
    world.webhook.verdict = { decision: 'deny', reason: 'stolen' };
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject({
      code: 'POLICY_WEBHOOK_REFUSED',
    });
    world.webhook.verdict = { decision: 'ask a person', reason: 'new' };
    await askWith(world, maker.device('SN-0007'), key);
  });

  it('waits because another system wants a person to decide', async () => {
    await changePolicy(world, { approval: 'auto', webhook: 'https://policy.example/' });
    world.webhook.verdict = { decision: 'ask a person', reason: 'not on the list of deliveries' };
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject(PENDING);
    expect(await onlyWaiting()).toMatchObject({ reason: 'not on the list of deliveries' });
  });

  it('is over without a word when the rule is changed: it gets its certificate', async () => {
    const key = newKey();
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    const { id } = await onlyWaiting();
    await changePolicy(world, { approval: 'auto' });
    await askWith(world, maker.device('SN-0007'), key);
    expect(await showEnrollmentRequest(world, id)).toMatchObject({ state: 'used' });
  });
});

describe('a person', () => {
  it('who refuses is obeyed for that key until the request would have ended, and says why', async () => {
    const key = newKey();
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    const { id } = await onlyWaiting();
    await refuseEnrollment(world, { id, reason: 'not ours', actor: 'anna' });
    expect(world.broker.decided).toEqual(['SN-0007']);
    const refused = { code: 'APPROVAL_REFUSED', message: expect.stringContaining('not ours') };
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(refused);
    await changePolicy(world, { approval: 'auto' });
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(refused);
    await changePolicy(world, { approval: 'manual' });
    world.clock.at += REQUEST_LIFE_MS;
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    expect((await onlyWaiting()).id).not.toBe(id);
  });

  it('may change a refusal into an approval and an unused approval into a refusal, and decide nothing else twice', async () => {
    const key = newKey();
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    const { id } = await onlyWaiting();
    await refuseEnrollment(world, { id, reason: 'no', actor: 'anna' });
    await approveEnrollment(world, { id, actor: 'ben' });
    await approveEnrollment(world, { id, actor: 'ben' });
    await refuseEnrollment(world, { id, reason: 'no', actor: 'anna' });
    await approveEnrollment(world, { id, actor: 'ben' });
    await askWith(world, maker.device('SN-0007'), key);
    await expect(approveEnrollment(world, { id, actor: 'ben' })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await expect(refuseEnrollment(world, { id, reason: 'x', actor: 'ben' })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
    await expect(approveEnrollment(world, { id: 'none', actor: 'ben' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('who makes a new ticket after a refusal has the later word', async () => {
    await changePolicy(world, { approval: 'manual' });
    const ticket = await register(world, 'press-07');
    const key = newKey();
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject(PENDING);
    await refuseEnrollment(world, { id: (await onlyWaiting()).id, reason: 'no', actor: 'anna' });
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject({ code: 'APPROVAL_REFUSED' });
    world.clock.at += 1000;
    await changePolicy(world, { approval: 'registered' });
    const later = await addTicket(world, { deviceId: press, actor: 'ben' });
    await enroll(world, 'press-07', later.ticket, key);
  });

  it('who approves another key of an enrolled device displaces the old one when the new one is used, not before', async () => {
    await changePolicy(world, { approval: 'auto' });
    const old = await askWith(world, maker.device('SN-0007'));
    await connectDevice(world, old.der, 'SN-0007');
    const key = newKey();
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    const request = await onlyWaiting();
    expect(request).toMatchObject({ known: 'enrolled' });
    await approveEnrollment(world, { id: request.id, actor: 'anna' });
    await connectDevice(world, old.der, 'SN-0007');
    world.clock.at += 1000;
    const next = await askWith(world, maker.device('SN-0007'), key);
    await connectDevice(world, old.der, 'SN-0007');
    await connectDevice(world, next.der, 'SN-0007');
    world.clock.at += HOUR + 1;
    await sweep(world);
    await expect(connectDevice(world, old.der, 'SN-0007')).rejects.toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
    await connectDevice(world, next.der, 'SN-0007');
  });

  it('who revokes the device ends what waits and what was approved', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject(PENDING);
    const { id } = await onlyWaiting();
    await approveEnrollment(world, { id, actor: 'anna' });
    const order = { deviceId: press, reason: 'superseded', actor: 'ben', requestedAt: 0 } as const;
    await revokeDevice(world, { ...order, becomes: 'revoked' });
    expect(await showEnrollmentRequest(world, id)).toMatchObject({ state: 'refused', note: 'the device was revoked' });
  });
});

describe('the queue', () => {
  it('expires what nobody decides and what nobody fetches', async () => {
    await expect(askWith(world, maker.device('SN-1'))).rejects.toMatchObject(PENDING);
    const first = await onlyWaiting();
    world.clock.at += DAY;
    const key = newKey();
    await expect(askWith(world, maker.device('SN-2'), key)).rejects.toMatchObject(PENDING);
    const second = (await waiting(world)).find(({ deviceId }) => deviceId === 'SN-2');
    await approveEnrollment(world, { id: second?.id ?? '', actor: 'anna' });
    world.clock.at += REQUEST_LIFE_MS;
    await sweep(world);
    for (const id of [first.id, second?.id ?? ''])
      expect(await showEnrollmentRequest(world, id)).toMatchObject({ state: 'expired' });
    await expect(approveEnrollment(world, { id: first.id, actor: 'anna' })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
    await expect(askWith(world, maker.device('SN-2'), key)).rejects.toMatchObject(PENDING);
    const actions = await world.store.read.audit.list({ action: 'enrollment.request-expired', limit: 9 });
    expect(actions.map(({ subject }) => subject).toSorted()).toEqual(['SN-1', 'SN-2']);
  });

  it('takes over from one that is over and not swept yet', async () => {
    const key = newKey();
    await expect(askWith(world, maker.device('SN-1'), key)).rejects.toMatchObject(PENDING);
    const { id } = await onlyWaiting();
    world.clock.at += REQUEST_LIFE_MS;
    await expect(askWith(world, maker.device('SN-1'), key)).rejects.toMatchObject(PENDING);
    expect((await onlyWaiting()).id).not.toBe(id);
  });

  it('holds few requests of one device, however many keys it makes', async () => {
    for (let i = 0; i < MAX_WAITING_REQUESTS_OF_DEVICE; i += 1)
      await expect(askWith(world, maker.device('SN-1'))).rejects.toMatchObject(PENDING);
    await expect(askWith(world, maker.device('SN-1'))).rejects.toMatchObject({ code: 'APPROVAL_QUEUE_FULL' });
    await expect(askWith(world, maker.device('SN-2'))).rejects.toMatchObject(PENDING);
  });

  it('is bounded for each group; those that wait already are not thrown out', async () => {
    const key = newKey();
    await expect(askWith(world, maker.device('SN-1'), key)).rejects.toMatchObject(PENDING);
    const request = await onlyWaiting();
    await world.store.write(async ({ enrollmentRequests }) => {
      for (let i = 1; i < MAX_WAITING_REQUESTS_OF_GROUP; i += 1) {
        const { known: _known, ...row } = request;
        await enrollmentRequests.insert({ ...row, id: `a-${i}`, deviceId: parseDeviceId(`filler-${i}`) });
      }
    });
    await expect(askWith(world, maker.device('SN-2'))).rejects.toMatchObject({
      code: 'APPROVAL_QUEUE_FULL',
      retryAfter: 300,
    });
    await expect(askWith(world, maker.device('SN-1'), key)).rejects.toMatchObject(PENDING);
  });

  it('is listed newest first, by state and group, page by page', async () => {
    for (const name of ['SN-1', 'SN-2', 'SN-3']) {
      await expect(askWith(world, maker.device(name))).rejects.toMatchObject(PENDING);
      world.clock.at += 1000;
    }
    const first = await listEnrollmentRequests(world, { limit: 2, state: 'waiting', group: 'default' });
    expect(first.items.map(({ deviceId }) => deviceId)).toEqual(['SN-3', 'SN-2']);
    const rest = await listEnrollmentRequests(world, { limit: 2, after: first.nextCursor ?? '' });
    expect(rest.items.map(({ deviceId }) => deviceId)).toEqual(['SN-1']);
    expect((await listEnrollmentRequests(world, { limit: 2, state: 'refused' })).items).toEqual([]);
  });
});

it('a label has to be the group of the device', async () => {
  await changePolicy(world, { approval: 'registered' });
  const ticket = await register(world, 'press-07');
  const credentials = { by: 'ticket', deviceId: 'press-07', ticket } as const;
  await expect(ask(world, credentials, newKey(), { label: 'nowhere' })).rejects.toMatchObject({
    code: 'LABEL_UNKNOWN',
  });
  await ask(world, credentials, newKey(), { label: 'default' });
});

/** Approved for one key; then another comes, which needs nobody's word, and is used. */
async function approvedThenOvertaken() {
  const key = newKey();
  await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
  await approveEnrollment(world, { id: (await onlyWaiting()).id, actor: 'anna' });
  world.clock.at += 60_000;
  await changePolicy(world, { approval: 'auto' });
  return key;
}

describe('an approval that was overtaken: the device has enrolled with another key since', () => {
  it('does not let its key displace the newcomer: it waits once more', async () => {
    const key = await approvedThenOvertaken();
    const other = await askWith(world, maker.device('SN-0007'));
    await connectDevice(world, other.der, pump);
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject(PENDING);
    const request = await onlyWaiting();
    expect(request).toMatchObject({ known: 'enrolled', reason: expect.stringContaining('another key') });
    world.clock.at += 1000;
    await approveEnrollment(world, { id: request.id, actor: 'anna' });
    await connectDevice(world, (await askWith(world, maker.device('SN-0007'), key)).der, pump);
  });

  it('does not let in the certificate that it gave either', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject(PENDING);
    await approveEnrollment(world, { id: (await onlyWaiting()).id, actor: 'anna' });
    const mine = await enroll(world, 'press-07', ticket, key);
    world.clock.at += 60_000;
    // As two at once would leave it: another key got its certificate by its own right, and used it first.
    await world.store.write(async ({ certificates, enrollments }) => {
      const [certificate] = await certificates.listByDevice(press);
      const begun = await enrollments.find(certificate?.enrollmentId ?? '');
      if (begun === undefined || certificate === undefined) throw new Error('it was issued');
      const other = { serial: nodeRandomness.serialNumber(), spkiSha256: 'f'.repeat(64), sha256: 'f'.repeat(64) };
      const enrollmentId = nodeRandomness.id('a');
      await enrollments.insert({ ...begun, ...other, id: enrollmentId, ticketId: null, requestId: null });
      const activatedAt = world.clock.at;
      await certificates.insert({ ...certificate, ...other, enrollmentId, state: 'active', activatedAt });
    });
    await expect(connectDevice(world, mine.der)).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
  });
});
