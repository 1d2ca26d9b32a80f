import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CsrAnswer } from '#gateway/contract/csr-messages.ts';
import type { MqttLimits } from '#gateway/mqtt/mqtt-limits.ts';
import { type Authority, type Credential, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { answerOf, type Known, TestDoor } from '#test/fixtures/mqtt/test-door.ts';

const CSR = 'v1/enroll/press-1/out/csr';
const CERTIFICATE = 'v1/enroll/press-1/in/certificate';
const MINUTE = 60_000;

let authority: Authority;
let maker: Authority;
let door: TestDoor;
let claim: Known;

beforeAll(async () => {
  authority = await createAuthority();
  maker = await createAuthority('Maker');
});
beforeEach(() => open());
afterEach(() => door.close());

async function open(limits: Partial<MqttLimits> = {}): Promise<void> {
  door = await TestDoor.open(limits, { authority, manufacturers: [maker.intermediate.pem] });
  claim = await door.claim('press-1');
}

async function reopen(limits: Partial<MqttLimits>): Promise<void> {
  await door.close();
  await open(limits);
}

function enroller(credential: Credential = claim.credential, clientId = 'press-1'): Promise<RawClient> {
  return RawClient.connected(door, credential, { clientId });
}

function csrMessage(requestId: string, fields: object = { csr: 'AAAA' }): string {
  return JSON.stringify({ version: 1, requestId, ...fields });
}

async function answer(client: RawClient, topic = CERTIFICATE): Promise<CsrAnswer> {
  const { payload } = await client.message(topic);
  return JSON.parse(payload.toString()) as CsrAnswer;
}

describe('a claim', () => {
  test('opens its two topics, and its CSR is answered to its own session with QoS 1', async () => {
    const client = await enroller();
    expect(await client.subscribe(CERTIFICATE)).toEqual([1]);
    expect(await client.publish(CSR, csrMessage('r-1'))).toBe('acked');
    const packet = await client.message(CERTIFICATE);
    expect(packet).toMatchObject({ qos: 1, retain: false });
    expect(JSON.parse(packet.payload.toString())).toMatchObject({ requestId: 'r-1', status: 200, code: 'ISSUED' });
    expect(door.asked).toHaveLength(1);
    const { sender, request } = door.asked[0] ?? {};
    expect(sender).toMatchObject({ kind: 'enrollment', deviceId: 'press-1', address: '127.0.0.1' });
    expect(sender?.peer.equals(claim.credential.der)).toBe(true);
    expect(request).toEqual({ kind: 'csr', requestId: 'r-1', csr: Buffer.from('AAAA', 'base64') });
    expect(door.enrolling).toMatchObject([{ deviceId: 'press-1', grounds: 'claim' }]);
    expect(door.opened).toEqual([]);
    client.destroy();
  });

  test('is not the session of its device: it displaces nobody, is not counted and gets no notices', async () => {
    const device = await door.device('press-1');
    const live = await RawClient.connected(door, device.credential, { clientId: 'press-1' });
    await live.subscribe('v1/d/press-1/in/notice');
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    expect(door.door.broker.sessions()).toHaveLength(1);
    expect(door.door.broker.sessionsOf(device.deviceId)).toMatchObject([{ serial: device.credential.serial }]);
    expect(door.door.broker.sendNotice(device.deviceId, 'a notice')).toBe(true);
    expect((await live.message('v1/d/press-1/in/notice')).payload.toString()).toBe('a notice');
    expect(await client.ping()).toBe('acked');
    expect(client.messages()).toEqual([]);
    live.destroy();
    client.destroy();
  });

  test('alone in its place hears no notice of its device', async () => {
    const client = await enroller();
    expect(await client.subscribe('v1/d/press-1/in/notice', 'v1/fleet/#')).toEqual([128, 128]);
    expect(door.door.broker.sendNotice(claim.deviceId, 'a notice')).toBe(false);
    expect(door.subscribed).toEqual([]);
    client.destroy();
  });

  test.each([
    'v1/d/press-1/out/data/x',
    'v1/d/press-1/out/csr',
    'v1/d/press-1/out/state',
    'v1/enroll/press-2/out/csr',
    'v1/enroll/press-1/out/ack',
  ])('is closed when it publishes to %s', async (topic) => {
    const client = await enroller();
    expect(await client.publish(topic, csrMessage('r-1'))).toBe('closed');
    await door.until(() => door.enrolled.length === 1);
    expect(door.enrolled[0]).toMatchObject({ reason: 'publish-refused' });
    expect(door.asked).toEqual([]);
    expect(door.messages).toEqual([]);
  });

  test('is closed when the device comes with its own certificate', async () => {
    const client = await enroller();
    const device = await door.device('press-1');
    const live = await RawClient.connected(door, device.credential, { clientId: 'press-1' });
    await client.closed;
    await door.until(() => door.enrolled.length === 1);
    expect(door.enrolled[0]).toMatchObject({ reason: 'enrolled' });
    expect(await live.ping()).toBe('acked');
    live.destroy();
  });

  test('is closed when it is revoked or spent meanwhile, and let in no more', async () => {
    const client = await enroller();
    door.revoke(claim);
    await client.closed;
    await door.until(() => door.enrolled.length === 1);
    expect(door.enrolled[0]).toMatchObject({ reason: 'claim-ended' });
    const again = await RawClient.open(door, claim.credential);
    expect(await again.connect({ clientId: 'press-1' })).toBe(5);
  });

  test('is found by its serial when it is revoked, and from then on heard no more', async () => {
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    const serial = door.enrolling[0]?.serial;
    const marked = door.door.broker.markRevoked([claim.credential.serial as never]);
    expect(marked).toMatchObject([{ deviceId: 'press-1', serial }]);
    await client.publish(CSR, csrMessage('r-1'));
    expect(await door.door.broker.close(marked, 'revoked')).toBe(1);
    await client.closed;
    expect(door.asked).toEqual([]);
  });

  test('that connects again takes the place of its own older connection, and of no other', async () => {
    const second = await door.claim('press-1');
    const older = await enroller();
    const neighbour = await enroller(second.credential);
    const newer = await enroller();
    await older.closed;
    expect(await neighbour.ping()).toBe('acked');
    expect(await newer.ping()).toBe('acked');
    neighbour.destroy();
    newer.destroy();
  });

  test('ends with its certificate', async () => {
    const client = await enroller();
    door.clockOffset = 25 * 3600 * 1000;
    await client.closed;
    await door.until(() => door.enrolled.length === 1);
    expect(door.enrolled[0]).toMatchObject({ reason: 'certificate-expired' });
  });
});

describe('what a maker certified', () => {
  test('gets through TLS, is judged with its chain, and may ask for its device', async () => {
    const idevid = await maker.issue('SN-1');
    door.knowManufactured('press-1', idevid);
    const client = await enroller(idevid);
    await client.subscribe(CERTIFICATE);
    await client.publish(CSR, csrMessage('r-1'));
    expect(await answer(client)).toMatchObject({ status: 200 });
    const chain = door.asked[0]?.sender.chain ?? [];
    expect(chain.some((der) => der.equals(maker.intermediate.der))).toBe(true);
    expect(door.enrolling).toMatchObject([{ deviceId: 'press-1', grounds: 'manufacturer' }]);
    client.destroy();
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)('shows the whole chain it sent over %s', async (maxVersion) => {
    const root = await createAuthority('Rooted');
    await door.close();
    door = await TestDoor.open({}, { authority, manufacturers: [root.root.pem] });
    const idevid = await root.issue('SN-2');
    door.knowManufactured('SN-2', idevid);
    const known = await RawClient.open(door, idevid, { maxVersion });
    expect(await known.connect({ clientId: '' })).toBe(0);
    await known.subscribe('v1/enroll/SN-2/in/certificate');
    await known.publish('v1/enroll/SN-2/out/csr', csrMessage('r-1'));
    await answer(known, 'v1/enroll/SN-2/in/certificate');
    const sent = door.asked[0]?.sender.chain.map((der) => der.toString('hex'));
    expect(sent).toEqual([root.intermediate.der.toString('hex')]);
    known.destroy();
  });

  test('is refused by TLS when nobody trusts that maker any more, and let in when somebody does', async () => {
    const idevid = await maker.issue('SN-1');
    door.knowManufactured('press-1', idevid);
    const server = await authority.server();
    const tls = {
      certificateChain: server.chain,
      privateKey: server.keyPem,
      issuers: [authority.intermediate.pem],
      manufacturers: [] as string[],
    };
    const stays = await enroller(idevid);
    door.door.reload(tls);
    const foreign = await RawClient.open(door, idevid);
    expect(await foreign.connect({ clientId: 'press-1' })).toBe('closed');
    expect(door.refused[0]).toMatchObject({ code: 'TLS_FOREIGN_CERTIFICATE' });
    expect(await stays.ping()).toBe('acked');
    door.door.reload({ ...tls, manufacturers: [maker.intermediate.pem] });
    const client = await enroller(idevid);
    expect(await client.ping()).toBe('acked');
    client.destroy();
  });

  test('with the serial of one of our devices neither closes nor blocks that device', async () => {
    const device = await door.device('press-1');
    const copied = await maker.issue('press-1', { serial: device.credential.serial });
    for (let i = 0; i < 12; i += 1) {
      const client = await RawClient.open(door, copied);
      await client.connect({ clientId: 'press-1' });
      client.destroy();
    }
    const live = await RawClient.connected(door, device.credential, { clientId: 'press-1' });
    door.knowManufactured('press-1', copied);
    await door.until(() => door.opened.length === 1);
    expect(door.door.broker.markRevoked([copied.serial as never])).toHaveLength(1);
    live.destroy();
  });
});

describe('the answers', () => {
  test('wait until the answer topic is subscribed to', async () => {
    const client = await enroller();
    await client.publish(CSR, csrMessage('r-1'));
    await client.publish(CSR, csrMessage('r-2'));
    await door.until(() => door.lines.filter(({ message }) => message.startsWith('CSR answer kept')).length === 2);
    await client.subscribe(CERTIFICATE);
    expect(await answer(client)).toMatchObject({ requestId: 'r-1' });
    expect(await answer(client)).toMatchObject({ requestId: 'r-2' });
    client.destroy();
  });

  test('go to the session that asked, not to another one of the same device', async () => {
    const second = await door.claim('press-1');
    const [asking, listening] = [await enroller(), await enroller(second.credential)];
    await asking.subscribe(CERTIFICATE);
    await listening.subscribe(CERTIFICATE);
    await asking.publish(CSR, csrMessage('r-1'));
    await answer(asking);
    expect(await listening.ping()).toBe('acked');
    expect(listening.messages()).toEqual([]);
    asking.destroy();
    listening.destroy();
  });

  test('come while the session goes on pinging, and do not hold each other up', async () => {
    const held = Promise.withResolvers<CsrAnswer>();
    door.answer = (_sender, { requestId }) =>
      requestId === 'slow' ? held.promise : Promise.resolve(answerOf(requestId, 200, 'ISSUED'));
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    await client.publish(CSR, csrMessage('slow'));
    await client.publish(CSR, csrMessage('quick'));
    expect(await answer(client)).toMatchObject({ requestId: 'quick' });
    expect(await client.ping()).toBe('acked');
    held.resolve(answerOf('slow', 403, 'DEVICE_NOT_ALLOWED'));
    expect(await answer(client)).toMatchObject({ requestId: 'slow', status: 403 });
    client.destroy();
  });

  test('to who waits for a person come as soon as it is decided, once', async () => {
    let status = 202;
    door.answer = async (_sender, { requestId }) =>
      answerOf(requestId, status, status === 202 ? 'APPROVAL_PENDING' : 'ISSUED');
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    await client.publish(CSR, csrMessage('r-1'));
    expect(await answer(client)).toMatchObject({ status: 202, code: 'APPROVAL_PENDING' });
    // A decision about somebody else's request: this one goes on waiting and is not told again.
    door.door.broker.answerWaiting(claim.deviceId);
    await door.until(() => door.asked.length === 2);
    status = 200;
    door.door.broker.answerWaiting(claim.deviceId);
    expect(await answer(client)).toMatchObject({ requestId: 'r-1', status: 200 });
    door.door.broker.answerWaiting(claim.deviceId);
    expect(await client.ping()).toBe('acked');
    expect(door.asked).toHaveLength(3);
    expect(client.messages()).toHaveLength(2);
    client.destroy();
  });

  test('to a renewal come on the topic of the device, judged by the certificate of this connection', async () => {
    const device = await door.device('press-1');
    const client = await RawClient.connected(door, device.credential, { clientId: 'press-1' });
    await client.subscribe('v1/d/press-1/in/#');
    await client.publish('v1/d/press-1/out/csr', csrMessage('r-9'));
    expect(await answer(client, 'v1/d/press-1/in/certificate')).toMatchObject({ requestId: 'r-9', status: 200 });
    expect(door.asked[0]?.sender).toMatchObject({ kind: 'device', deviceId: 'press-1' });
    expect(door.asked[0]?.sender.peer.equals(device.credential.der)).toBe(true);
    client.destroy();
  });

  test('are refusals of our own when the operation fails in a way it should not', async () => {
    door.answer = () => Promise.reject(new Error('a bug'));
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    await client.publish(CSR, csrMessage('r-1'));
    const told = await answer(client);
    expect(told).toMatchObject({ requestId: 'r-1', status: 500, code: 'INTERNAL', transient: true });
    expect(told.detail).not.toContain('a bug');
    expect(await client.ping()).toBe('acked');
    client.destroy();
  });
});

describe('messages that are none', () => {
  test.each([
    ['no JSON', 'not JSON'],
    ['no object', '[]'],
    ['null', 'null'],
    ['no requestId', JSON.stringify({ version: 1, csr: 'AAAA' })],
    ['a requestId that cannot stand in a log', csrMessage('a\nb')],
    ['a requestId of the wrong type', JSON.stringify({ version: 1, requestId: 7, csr: 'AAAA' })],
    ['nothing', ''],
  ])('%s: nobody to answer, and the session goes on', async (_, payload) => {
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    expect(await client.publish(CSR, payload)).toBe('acked');
    await client.publish(CSR, csrMessage('r-1'));
    expect(await answer(client)).toMatchObject({ requestId: 'r-1' });
    expect(door.asked).toHaveLength(1);
    client.destroy();
  });

  test.each([
    ['another version', { version: 2, csr: 'AAAA' }],
    ['no version', { version: undefined, csr: 'AAAA' }],
    ['neither CSR nor challenge', {}],
    ['both', { csr: 'AAAA', tpmChallenge: { version: 1, akPublic: 'AAAA' } }],
    ['a CSR that is not base64', { csr: 'A-A_' }],
    ['an empty CSR', { csr: '' }],
    ['a CSR that is a number', { csr: 7 }],
    ['a challenge without an AK', { tpmChallenge: { version: 1 } }],
    ['a challenge of another version', { tpmChallenge: { version: 2, akPublic: 'AAAA' } }],
    [
      'a challenge with too long a chain',
      { tpmChallenge: { version: 1, akPublic: 'AAAA', ekChain: Array(7).fill('AAAA') } },
    ],
  ])('%s is told to be wrong', async (_, fields) => {
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    await client.publish(CSR, csrMessage('r-1', fields));
    expect(await answer(client)).toMatchObject({
      requestId: 'r-1',
      status: 400,
      code: 'REQUEST_INVALID',
      transient: false,
    });
    expect(door.asked).toEqual([]);
    client.destroy();
  });

  test('a challenge reaches the operation with its fields decoded, unknown ones ignored', async () => {
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    const tpmChallenge = { version: 1, akPublic: 'AAEC', ekPublic: 'AwQ=', later: true };
    await client.publish(CSR, csrMessage('r-1', { tpmChallenge, extra: 1 }));
    await answer(client);
    expect(door.asked[0]?.request).toEqual({
      kind: 'challenge',
      requestId: 'r-1',
      shown: { akPublic: Buffer.of(0, 1, 2), ekPublic: Buffer.of(3, 4), ekChain: [] },
    });
    client.destroy();
  });
});

describe('bounds', () => {
  test('one that is always refused is told to wait, also on a new connection, and its neighbour is served', async () => {
    await reopen({ csrBurst: 3, csrPerSecond: 0.01 });
    door.answer = async (sender, { requestId }) =>
      sender.deviceId === 'press-1' ? answerOf(requestId, 403, 'DEVICE_UNKNOWN') : answerOf(requestId, 200, 'ISSUED');
    const told: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      const client = await enroller();
      await client.subscribe(CERTIFICATE);
      await client.publish(CSR, csrMessage('r-1'));
      const { status, retryAfter } = await answer(client);
      told.push(status);
      if (status === 429) expect(retryAfter).toBeGreaterThan(1);
      client.destroy();
    }
    expect(told).toEqual([403, 403, 403, 429, 429]);
    const other = await door.claim('press-2');
    const neighbour = await enroller(other.credential, 'press-2');
    await neighbour.subscribe('v1/enroll/press-2/in/certificate');
    await neighbour.publish('v1/enroll/press-2/out/csr', csrMessage('r-1'));
    expect(await answer(neighbour, 'v1/enroll/press-2/in/certificate')).toMatchObject({ status: 200 });
    neighbour.destroy();
  });

  test('a network whose devices are granted what they ask is never slowed', async () => {
    await reopen({ csrBurst: 2, csrPerSecond: 0.001, csrAddressBurst: 3, csrAddressPerSecond: 0.001 });
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    for (let i = 0; i < 10; i += 1) {
      await client.publish(CSR, csrMessage(`r-${i}`));
      expect(await answer(client)).toMatchObject({ requestId: `r-${i}`, status: 200 });
    }
    client.destroy();
  });

  test('past the CSRs worked on at once the answer is 503 with a time to come back', async () => {
    await reopen({ maxCsrsInWork: 1 });
    const held = Promise.withResolvers<CsrAnswer>();
    door.answer = () => held.promise;
    const first = await enroller();
    await first.subscribe(CERTIFICATE);
    await first.publish(CSR, csrMessage('held'));
    await door.until(() => door.asked.length === 1);
    const other = await door.claim('press-2');
    const second = await enroller(other.credential, 'press-2');
    await second.subscribe('v1/enroll/press-2/in/certificate');
    await second.publish('v1/enroll/press-2/out/csr', csrMessage('r-1'));
    const told = await answer(second, 'v1/enroll/press-2/in/certificate');
    expect(told).toMatchObject({ status: 503, code: 'OVERLOADED', transient: true });
    expect(told.retryAfter).toBeGreaterThanOrEqual(1);
    held.resolve(answerOf('held', 200, 'ISSUED'));
    expect(await answer(first)).toMatchObject({ requestId: 'held', status: 200 });
    first.destroy();
    second.destroy();
  });

  test.each([
    ['it works on all it can', undefined],
    ['it fails itself', 'STORE_UNAVAILABLE'],
  ])('a network is not slowed for what the gateway refused because %s', async (_, code) => {
    await reopen({ maxCsrsInWork: code === undefined ? 1 : 10, csrAddressBurst: 3, csrAddressPerSecond: 0.001 });
    const held = Promise.withResolvers<CsrAnswer>();
    door.answer = async (_sender, { requestId }) =>
      code === undefined || requestId === 'held' ? await held.promise : answerOf(requestId, 503, code);
    const first = await enroller();
    await first.subscribe(CERTIFICATE);
    await first.publish(CSR, csrMessage('held'));
    await door.until(() => door.asked.length === 1);
    const other = await door.claim('press-2');
    const second = await enroller(other.credential, 'press-2');
    await second.subscribe('v1/enroll/press-2/in/certificate');
    for (let i = 0; i < 6; i += 1) {
      await second.publish('v1/enroll/press-2/out/csr', csrMessage(`r-${i}`));
      expect(await answer(second, 'v1/enroll/press-2/in/certificate')).toMatchObject({
        requestId: `r-${i}`,
        status: 503,
        code: code ?? 'OVERLOADED',
      });
    }
    held.resolve(answerOf('held', 200, 'ISSUED'));
    first.destroy();
    second.destroy();
  });

  test('one connection may not have more than a few CSRs worked on', async () => {
    await reopen({ maxCsrsOfSession: 2 });
    const held = Promise.withResolvers<CsrAnswer>();
    door.answer = () => held.promise;
    const client = await enroller();
    await client.subscribe(CERTIFICATE);
    for (const id of ['r-1', 'r-2', 'r-3']) await client.publish(CSR, csrMessage(id));
    expect(await answer(client)).toMatchObject({ requestId: 'r-3', status: 429 });
    held.resolve(answerOf('r-1', 200, 'ISSUED'));
    client.destroy();
  });

  test('when all places are taken the one that was silent longest makes room, if it was silent long enough', async () => {
    await reopen({ maxEnrollmentSessions: 2, enrollmentPatienceMs: 0 });
    const [two, three] = [await door.claim('press-2'), await door.claim('press-3')];
    const first = await enroller();
    const second = await enroller(two.credential, 'press-2');
    await first.subscribe(CERTIFICATE);
    await first.publish(CSR, csrMessage('r-1'));
    await answer(first);
    const third = await enroller(three.credential, 'press-3');
    await second.closed;
    expect(await first.ping()).toBe('acked');
    expect(await third.ping()).toBe('acked');
    first.destroy();
    third.destroy();
  });

  test('when all places are taken and busy a newcomer is told to come back, devices are not', async () => {
    await reopen({ maxEnrollmentSessions: 1 });
    const first = await enroller();
    const two = await door.claim('press-2');
    const second = await RawClient.open(door, two.credential);
    expect(await second.connect({ clientId: 'press-2' })).toBe(3);
    const device = await door.device('press-9');
    const live = await RawClient.connected(door, device.credential, { clientId: 'press-9' });
    expect(await first.ping()).toBe('acked');
    live.destroy();
    first.destroy();
  });

  test('one that asks nothing is closed after a while, one that waits for a person later', async () => {
    await reopen({ enrollmentIdleMs: 15 * MINUTE, enrollmentWaitMs: 60 * MINUTE });
    door.answer = async (_sender, { requestId }) => answerOf(requestId, 202, 'APPROVAL_PENDING');
    const two = await door.claim('press-2');
    const waiting = await enroller(two.credential, 'press-2');
    await waiting.subscribe('v1/enroll/press-2/in/certificate');
    await waiting.publish('v1/enroll/press-2/out/csr', csrMessage('r-1'));
    const idle = await enroller();
    door.uptimeOffset += 16 * MINUTE;
    await idle.closed;
    await door.until(() => door.enrolled.length === 1);
    expect(door.enrolled[0]).toMatchObject({ deviceId: 'press-1', reason: 'idle' });
    expect(await waiting.ping()).toBe('acked');
    door.uptimeOffset += 45 * MINUTE;
    await waiting.closed;
    await door.until(() => door.enrolled.length === 2);
    expect(door.enrolled[1]).toMatchObject({ deviceId: 'press-2', reason: 'enrollment-timeout' });
  });
});
