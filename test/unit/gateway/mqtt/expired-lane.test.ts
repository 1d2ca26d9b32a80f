import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { CsrAnswer } from '#gateway/contract/csr-messages.ts';
import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics, enrollTopics } from '#gateway/contract/topics.ts';
import { approveEnrollment, refuseEnrollment } from '#gateway/operations/decide-requests.ts';
import { followStatusChanges } from '#gateway/operations/follow-other-processes.ts';
import { landRevocations } from '#gateway/operations/land-revocations.ts';
import { quarantineDevice } from '#gateway/operations/quarantine-device.ts';
import { recordCertificateRevocation } from '#gateway/operations/record-certificate-revocation.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import {
  attestedCsr,
  certify,
  enrollAttested,
  tpmOf,
  trustedMaker,
} from '#test/fixtures/gateway/attested-enrollment.ts';
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
import { ask, EnrollingGateway, nextAnswer, pemOf, type Shown } from '#test/fixtures/mqtt/enrolling-gateway.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';

const press = parseDeviceId('press-1');
const topics = enrollTopics(press);
const GRACE = { graceSeconds: 30 * 86_400, graceDecision: 'auto' } as const;

let gateway: EnrollingGateway;
let world: World;
let current: Held;

type Held = Shown & { der: Buffer; serial: SerialNumber };

function held(der: Buffer, key: Pick<DeviceKey, 'privateKey'>): Held {
  const certificate = new X509Certificate(der);
  const serial = certificate.serialNumber.toLowerCase() as SerialNumber;
  return { chain: certificate.toString(), keyPem: pemOf(key), der, serial };
}

/** Enrolled eight days ago, for seven: it has ended by the clock of this machine, too. */
beforeEach(async () => {
  gateway = await EnrollingGateway.open({ isAged: true });
  ({ world } = gateway);
  await changePolicy(world, GRACE);
  current = await enrolledBefore('press-1', 8 * DAY);
});
afterEach(() => gateway.close());

async function enrolledBefore(name: string, ms: number, { isUsed = true } = {}): Promise<Held> {
  const now = world.clock.at;
  world.clock.at = Date.now() - ms;
  const { der, key } = await enroll(world, name, await register(world, name));
  const shown = held(der, key);
  if (isUsed) {
    await connectDevice(world, der, name);
    const session = { serial: shown.serial, address: '127.0.0.1', since: world.clock.at };
    await world.store.write(({ sessions }) => sessions.open(parseDeviceId(name), session));
  }
  world.clock.at = now;
  return shown;
}

let requests = 0;
async function csrMessage(key: DeviceKey, renews = current): Promise<object> {
  requests += 1;
  return { requestId: `r-${requests}`, csr: (await csrOf(key, { renews: renews.der })).toString('base64') };
}

const certificateOf = (answer: CsrAnswer): Buffer => Buffer.from(answer.certificate ?? '', 'base64');

async function auditOf(action: string) {
  await gateway.background.flush();
  return (await world.store.read.audit.list({ limit: 200 })).filter((event) => event.action === action);
}

async function setState(state: 'quarantined' | 'held' | 'retired' | 'revoked'): Promise<void> {
  await world.store.write(({ devices }) => devices.update(press, { state }));
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('a device that comes back after its end, with %s', (version) => {
  test('asks for the next certificate, comes with it, and has no way back any more', async () => {
    await sweep(world);
    const only = { minVersion: version, maxVersion: version };
    const client = await RawClient.open(gateway.address, current as never, only);
    expect(await client.connect({ clientId: 'press-1' })).toBe(0);
    expect(client.socket.getProtocol()).toBe(version);
    expect(await client.subscribe(topics.certificate)).toEqual([1]);
    expect(gateway.door.broker.sessions()).toEqual([]);
    const key = newKey();
    const answer = await ask(client, topics, await csrMessage(key));
    expect(answer).toMatchObject({ status: 200, code: 'ISSUED', transient: false });
    expect(answer.suggestedWindow).toBeDefined();
    expect((await auditOf('enrollment-session.opened'))[0]).toMatchObject({
      actor: `expired:${current.serial}`,
      subject: 'press-1',
      detail: expect.stringContaining('from 127.0.0.1'),
    });
    expect((await auditOf('enrollment.approved'))[0]?.detail).toMatch(
      /expired lane, score \d+: expired for \d+ s of 2592000 s, known network, proof software/,
    );

    const next = held(certificateOf(answer), key);
    const device = await RawClient.connected(gateway.address, next as never, { clientId: 'press-1' });
    await client.closed;
    expect(gateway.door.broker.sessionsOf(press)).toMatchObject([{ serial: next.serial }]);
    // The copy of the old key that somebody made.
    expect(await gateway.connectCode('press-1', current)).toBe(5);
    expect((await auditOf('session.refused'))[0]).toMatchObject({ subject: 'press-1', code: 'CERTIFICATE_SUPERSEDED' });
    expect(await device.ping()).toBe('acked');
    device.destroy();
  });
});

describe('a session that has expired opens nothing else:', () => {
  test.each([
    deviceTopics(press).notice,
    deviceTopics(press).certificate,
    'v1/d/press-1/in/#',
    'v1/d/+/out/data/#',
    'v1/fleet/trust',
    'v1/fleet/#',
    'v1/enroll/press-1/in/#',
    'v1/enroll/+/in/certificate',
    'v1/enroll/press-2/in/certificate',
    '$SYS/#',
    '#',
  ])('%s cannot be read', async (filter) => {
    const client = await gateway.enroller('press-1', current);
    expect(await client.subscribe(filter)).toEqual([128]);
    expect(await client.ping()).toBe('acked');
    client.destroy();
  });

  test.each([
    deviceTopics(press).state,
    deviceTopics(press).ack,
    deviceTopics(press).csr,
    'v1/d/press-1/out/data/temperature',
    'v1/enroll/press-2/out/csr',
    'v1/enroll/press-1/out/csr/x',
    topics.certificate,
  ])('%s cannot be written', async (topic) => {
    const client = await gateway.enroller('press-1', current);
    expect(await client.publish(topic, '{}')).toBe('closed');
  });

  test('it gets no notices, and is not what "connected" means', async () => {
    const client = await gateway.enroller('press-1', current);
    expect(gateway.door.broker.sendNotice(press, 'token')).toBe(false);
    expect(gateway.door.broker.sessionsOf(press)).toEqual([]);
    client.destroy();
    await client.closed;
    await gateway.background.flush();
    // Nor does its address become a known one.
    expect(await world.store.read.sessions.find(press)).toMatchObject({ current: { serial: current.serial } });
  });
});

describe('CONNECT is refused with 5, and told in log and audit, when the certificate has expired', () => {
  const cases: [string, string, () => Promise<unknown>][] = [
    ['in a group without grace', 'CERTIFICATE_EXPIRED', () => changePolicy(world, { graceSeconds: 0 })],
    ['longer ago than the grace', 'CERTIFICATE_EXPIRED', () => changePolicy(world, { graceSeconds: 86_000 })],
    [
      'and was revoked',
      'CERTIFICATE_REVOKED',
      () =>
        world.store.write((tables) =>
          recordCertificateRevocation(
            tables,
            world,
            { serial: current.serial, reason: 'keyCompromise', actor: 'test' },
            world.clock.now(),
          ),
        ),
    ],
    [
      'and its device was revoked',
      'DEVICE_NOT_ALLOWED',
      () =>
        revokeDevice(
          { ...world, broker: gateway.door.broker },
          { deviceId: press, actor: 'test', reason: 'superseded', becomes: 'revoked', requestedAt: performance.now() },
        ),
    ],
    [
      'and its device is in quarantine',
      'DEVICE_NOT_ALLOWED',
      () =>
        quarantineDevice({ ...world, broker: gateway.door.broker }, { deviceId: press, reason: 'why', actor: 'test' }),
    ],
    ['and its device is on hold', 'DEVICE_NOT_ALLOWED', () => setState('held')],
    ['and its device is retired', 'DEVICE_NOT_ALLOWED', () => setState('retired')],
  ];
  test.each(cases)('%s', async (_, code, arrange) => {
    await arrange();
    const client = await RawClient.open(gateway.address, current as never);
    expect(await client.connect({ clientId: 'press-1' })).toBe(5);
    await client.closed;
    const { serial } = current;
    expect((await auditOf('session.refused'))[0]).toMatchObject({ subject: 'press-1', code, outcome: 'refused' });
    const told = world.log.lines.filter(({ message }) => message === 'session refused');
    expect(told).toMatchObject([{ level: 'warn', facts: { code, serial, deviceId: 'press-1', address: '127.0.0.1' } }]);
    expect(await auditOf('enrollment-session.opened')).toEqual([]);
  });

  test('and was never used', async () => {
    const unused = await enrolledBefore('press-2', 8 * DAY, { isUsed: false });
    expect(await gateway.connectCode('press-2', unused)).toBe(5);
    expect((await auditOf('session.refused'))[0]).toMatchObject({ subject: 'press-2', code: 'CERTIFICATE_EXPIRED' });
  });

  test('and a newer one was used since, although that has expired as well', async () => {
    world.clock.at = Date.now() - 4 * DAY;
    const renewed = await reenrollDevice(world, {
      attemptId: 'a-0000000000000001',
      ...ARRIVAL,
      peer: current.der,
      csr: await csrOf(newKey(), { renews: current.der }),
    });
    await connectDevice(world, renewed.certificate, 'press-1');
    world.clock.at = Date.now() + 5 * DAY;
    expect(await gateway.connectCode('press-1', current)).toBe(5);
    expect((await auditOf('session.refused'))[0]).toMatchObject({ code: 'CERTIFICATE_SUPERSEDED' });
  });

  test('and the client id is that of another device', async () => {
    await enrolledBefore('press-2', 8 * DAY);
    expect(await gateway.connectCode('press-2', current)).toBe(5);
    expect((await auditOf('session.refused'))[0]).toMatchObject({ subject: 'press-1', code: 'CLIENT_ID_MISMATCH' });
  });

  test('and there is a will, as of a device that does not know it yet', async () => {
    const client = await RawClient.open(gateway.address, current as never);
    const will = { topic: deviceTopics(press).state, payload: '{}' };
    expect(await client.connect({ clientId: 'press-1', will })).toBe(5);
    expect((await auditOf('session.refused'))[0]).toMatchObject({
      code: 'CERTIFICATE_EXPIRED',
      detail: expect.stringContaining('without a will'),
    });
  });

  test('and it is none of this gateway, although of the same CA', async () => {
    const other = await openWorld({ isAged: true });
    try {
      other.clock.at = Date.now() - 8 * DAY;
      const { der, key } = await enroll(other, 'press-1', await register(other, 'press-1'));
      expect(await gateway.connectCode('press-1', held(der, key))).toBe(5);
      expect(world.log.lines.at(-1)).toMatchObject({
        message: 'session refused',
        facts: { code: 'CERTIFICATE_UNKNOWN' },
      });
    } finally {
      await other.close();
    }
  });

  test('and the clock is set back between TLS and CONNECT: it is no device for that', async () => {
    const client = await RawClient.open(gateway.address, current as never);
    await expect.poll(() => gateway.door.counts()).toEqual({ sockets: 1, waiting: 0, handshakes: 0 });
    world.clock.at -= 4 * DAY;
    expect(await client.connect({ clientId: 'press-1' })).toBe(5);
    expect((await auditOf('session.refused'))[0]).toMatchObject({ subject: 'press-1', code: 'CERTIFICATE_EXPIRED' });
  });

  test('by the clock of the gateway alone: its own rule decides, not what TLS has made of it', async () => {
    await changePolicy(world, { graceSeconds: 0 });
    const valid = await enrolledBefore('press-2', DAY);
    const client = await RawClient.open(gateway.address, valid as never);
    world.clock.at += 7 * DAY;
    expect(await client.connect({ clientId: 'press-2' })).toBe(5);
    expect((await auditOf('session.refused'))[0]).toMatchObject({ subject: 'press-2', code: 'CERTIFICATE_EXPIRED' });
  });
});

describe('what is asked in such a session', () => {
  test('gets the same answer again, over another connection too, and when the answer was lost', async () => {
    const key = newKey();
    const first = await gateway.enroller('press-1', current);
    const message = await csrMessage(key);
    await first.publish(topics.csr, JSON.stringify({ version: 1, ...message }));
    first.destroy();
    const second = await gateway.enroller('press-1', current);
    const answer = await ask(second, topics, message);
    expect(answer.status).toBe(200);
    const again = await ask(second, topics, await csrMessage(key));
    expect(again).toMatchObject({ status: 200, code: 'GIVEN_AGAIN', certificate: answer.certificate });
    expect(await world.store.read.certificates.listByDevice(press)).toHaveLength(2);
    second.destroy();
  });

  test('gets the same certificate when the authority signed it and its answer was lost', async () => {
    const key = newKey();
    const client = await gateway.enroller('press-1', current);
    world.authority.failure = 'answer lost';
    expect(await ask(client, topics, await csrMessage(key))).toMatchObject({ status: 503, transient: true });
    world.authority.failure = 'none';
    const answer = await ask(client, topics, await csrMessage(key));
    expect(answer.status).toBe(200);
    expect(await world.store.read.certificates.listByDevice(press)).toHaveLength(2);
    client.destroy();
  });

  test('waits for a person from another network, who is told by the queue, and is answered at the decision', async () => {
    const client = await RawClient.open(gateway.address, current as never, { localAddress: '127.0.0.9' });
    expect(await client.connect({ clientId: 'press-1' })).toBe(0);
    await client.subscribe(topics.certificate);
    const key = newKey();
    expect(await ask(client, topics, await csrMessage(key))).toMatchObject({
      status: 202,
      code: 'APPROVAL_PENDING',
      transient: true,
      retryAfter: expect.any(Number),
    });
    // Having been here before does not make it known.
    expect(await ask(client, topics, await csrMessage(key))).toMatchObject({ status: 202 });
    const [request, another] = await world.store.read.enrollmentRequests.list({ limit: 10 });
    expect(another).toBeUndefined();
    expect(request).toMatchObject({
      state: 'waiting',
      door: 'mqtt',
      address: '127.0.0.9',
      grounds: `expired:${current.serial}`,
      reason: expect.stringContaining('another network'),
    });
    await approveEnrollment(gateway.deps, { id: request?.id ?? '', actor: 'test' });
    const answer = await nextAnswer(client, topics);
    expect(answer).toMatchObject({ status: 200 });
    await connectDevice(world, certificateOf(answer), 'press-1');
    expect((await world.store.read.enrollmentRequests.find(request?.id ?? ''))?.state).toBe('used');
    client.destroy();
  });

  test('is refused when a person has refused it, at once and later', async () => {
    await changePolicy(world, { graceDecision: 'approval' });
    const client = await gateway.enroller('press-1', current);
    const key = newKey();
    expect(await ask(client, topics, await csrMessage(key))).toMatchObject({ status: 202 });
    const [request] = await world.store.read.enrollmentRequests.list({ limit: 10 });
    await refuseEnrollment(gateway.deps, { id: request?.id ?? '', reason: 'stolen', actor: 'test' });
    expect(await nextAnswer(client, topics)).toMatchObject({ status: 403, code: 'APPROVAL_REFUSED' });
    expect(await ask(client, topics, await csrMessage(key))).toMatchObject({ status: 403, code: 'APPROVAL_REFUSED' });
    client.destroy();
  });

  test('is refused with its score where the group refuses', async () => {
    await changePolicy(world, { graceDecision: 'refuse' });
    const client = await gateway.enroller('press-1', current);
    const answer = await ask(client, topics, await csrMessage(newKey()));
    expect(answer).toMatchObject({ status: 403, code: 'CERTIFICATE_EXPIRED', transient: false });
    expect(answer.detail).toMatch(/expired lane, score \d+/);
    client.destroy();
  });

  test.each([
    ['the device was put into quarantine', 'DEVICE_NOT_ALLOWED', () => setState('quarantined')],
    ['the group has no grace any more', 'CERTIFICATE_EXPIRED', () => changePolicy(world, { graceSeconds: 0 })],
  ])('is judged anew each time: %s', async (_, code, arrange) => {
    const client = await gateway.enroller('press-1', current);
    await arrange();
    expect(await ask(client, topics, await csrMessage(newKey()))).toMatchObject({ status: 403, code });
    expect(await world.store.read.certificates.listByDevice(press)).toHaveLength(1);
    client.destroy();
  });

  test('ends with the session when its certificate is revoked by name', async () => {
    const client = await gateway.enroller('press-1', current);
    const order = { serial: current.serial, reason: 'keyCompromise' as const, actor: 'test' };
    const recorded = await world.store.write((tables) =>
      recordCertificateRevocation(tables, world, order, world.clock.now()),
    );
    const deps = { ...world, broker: gateway.door.broker };
    await landRevocations(deps, recorded === undefined ? [] : [recorded], {
      reason: order.reason,
      decidedAt: performance.now(),
    });
    await client.closed;
    expect(await gateway.connectCode('press-1', current)).toBe(5);
  });

  test('ends with the session when another process has revoked its certificate', async () => {
    const client = await gateway.enroller('press-1', current);
    const order = { serial: current.serial, reason: 'keyCompromise' as const, actor: 'test' };
    await world.store.write((tables) => recordCertificateRevocation(tables, world, order, world.clock.now()));
    const changes = await world.store.read.statusChanges.listAfter(0, 10);
    expect(changes).toMatchObject([{ serial: current.serial, change: 'revoked' }]);
    await followStatusChanges({ ...world, broker: gateway.door.broker }, changes);
    await client.closed;
  });

  test.each([
    ['the name of another device', { commonName: 'press-2' }],
    ['no name at all', {}],
  ])('is refused under %s', async (_, names) => {
    const client = await gateway.enroller('press-1', current);
    const csr = (await csrOf(newKey(), names)).toString('base64');
    expect(await ask(client, topics, { requestId: 'r-x', csr })).toMatchObject({ code: 'IDENTITY_MISMATCH' });
    client.destroy();
  });
});

async function challengeOver(client: RawClient, deviceId: DeviceId, tpm: ReturnType<typeof tpmOf>): Promise<Buffer> {
  requests += 1;
  const answer = await ask(client, enrollTopics(deviceId), {
    requestId: `r-${requests}`,
    tpmChallenge: {
      version: 1,
      ekCertificate: tpm.ekCertificate.toString('base64'),
      akPublic: tpm.ak.publicArea.toString('base64'),
    },
  });
  expect(answer).toMatchObject({ status: 200, code: 'CHALLENGED' });
  const { credentialBlob = '', encryptedSecret = '' } = answer.tpmChallenge ?? {};
  return tpm.activateCredential(Buffer.from(credentialBlob, 'base64'), Buffer.from(encryptedSecret, 'base64'));
}

describe('a device whose key is in a TPM', () => {
  const pump = parseDeviceId('pump-1');
  const pumpTopics = enrollTopics(pump);

  async function attestedBefore(ms: number): Promise<{ shown: Held; tpm: ReturnType<typeof tpmOf> }> {
    const now = world.clock.at;
    world.clock.at = Date.now() - ms;
    const tpm = tpmOf(await trustedMaker(world));
    const ticket = await register(world, 'pump-1');
    const { certificate, key } = await enrollAttested(world, tpm, { deviceId: 'pump-1', ticket });
    await connectDevice(world, certificate, 'pump-1');
    const shown = held(certificate, key);
    const session = { serial: shown.serial, address: '127.0.0.1', since: world.clock.at };
    await world.store.write(({ sessions }) => sessions.open(pump, session));
    world.clock.at = now;
    return { shown, tpm };
  }

  test('proves the next one in the same session, and gets nothing without', async () => {
    const { shown, tpm } = await attestedBefore(8 * DAY);
    const client = await gateway.enroller('pump-1', shown);
    const bare = await ask(client, pumpTopics, await csrMessage(newKey(), shown));
    expect(bare).toMatchObject({ status: 403, code: 'ATTESTATION_REQUIRED' });
    const secret = await challengeOver(client, pump, tpm);
    const key = tpm.createDeviceKey();
    const csr = (await attestedCsr(key, certify(tpm, key, secret), shown.der)).toString('base64');
    const answer = await ask(client, pumpTopics, { requestId: 'r-attested', csr });
    expect(answer).toMatchObject({ status: 200, code: 'ISSUED' });
    expect((await auditOf('enrollment.approved'))[0]?.detail).toMatch(/known network, proof tpm-endorsed/);
    expect((await connectDevice(world, certificateOf(answer), 'pump-1')).proofLevel).toBe('tpm-endorsed');
    client.destroy();
  });

  test('cannot use what another session was challenged with, nor another TPM', async () => {
    const { shown, tpm } = await attestedBefore(8 * DAY);
    const thief = await gateway.enroller('press-1', current);
    const stranger = tpmOf(await trustedMaker(world));
    const client = await gateway.enroller('pump-1', shown);
    const secret = await challengeOver(thief, press, stranger);
    const key = stranger.createDeviceKey();
    const csr = (await attestedCsr(key, certify(stranger, key, secret), shown.der)).toString('base64');
    expect(await ask(client, pumpTopics, { requestId: 'r-1', csr })).toMatchObject({
      status: 403,
      code: 'ATTESTATION_CHALLENGE_UNKNOWN',
    });
    const own = await challengeOver(client, pump, tpm);
    const wrong = (await attestedCsr(key, certify(stranger, key, own), shown.der)).toString('base64');
    expect((await ask(client, pumpTopics, { requestId: 'r-2', csr: wrong })).status).toBe(403);
    expect(await world.store.read.certificates.listByDevice(pump)).toHaveLength(1);
    client.destroy();
    thief.destroy();
  });
});
