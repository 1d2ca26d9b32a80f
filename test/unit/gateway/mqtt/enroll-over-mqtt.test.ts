import { X509Certificate } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseCsr } from '#ca/pkix/csr.ts';
import { oid, printableString, sequence, setOf } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics, enrollTopics } from '#gateway/contract/topics.ts';
import { approveEnrollment, listEnrollmentRequests, refuseEnrollment } from '#gateway/operations/decide-requests.ts';
import { revokeTicket } from '#gateway/operations/manage-tickets.ts';
import { showAttempt } from '#gateway/operations/show-attempts.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { changePolicy, csrOf, type DeviceKey, HOUR, newKey } from '#test/fixtures/gateway/operations-world.ts';
import { ask, EnrollingGateway, nextAnswer, pemOf, type Shown } from '#test/fixtures/mqtt/enrolling-gateway.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { type IdentityKind, OpensslMaker } from '#test/fixtures/processes/openssl-maker.ts';

const press = parseDeviceId('press-1');
const topics = enrollTopics(press);

let maker: OpensslMaker;
let foreign: OpensslMaker;
let gateway: EnrollingGateway;

beforeAll(async () => {
  [maker, foreign] = await Promise.all([OpensslMaker.create('Maker'), OpensslMaker.create('Foreign')]);
});
afterAll(() => Promise.all([maker.remove(), foreign.remove()]));
beforeEach(async () => {
  gateway = await EnrollingGateway.open({ makers: [maker] });
  await gateway.trust(maker.root.pem);
});
afterEach(() => gateway.close());

async function csrMessage(requestId: string, key: DeviceKey, names = {}): Promise<object> {
  return { requestId, csr: (await csrOf(key, names)).toString('base64') };
}

function credential(certificate: string | undefined, key: DeviceKey): Shown & { der: Buffer } {
  const der = Buffer.from(certificate ?? '', 'base64');
  return { chain: new X509Certificate(der).toString(), keyPem: pemOf(key), der };
}

async function connectDevice(deviceId: DeviceId, shown: Shown): Promise<RawClient> {
  const client = await RawClient.connected(gateway.address, shown as never, { clientId: deviceId });
  await client.subscribe(`v1/d/${deviceId}/in/#`);
  return client;
}

/** A device whose request stands in the queue. */
async function waiting(): Promise<{ client: RawClient; key: DeviceKey; id: string }> {
  await changePolicy(gateway.world, { approval: 'manual' });
  const client = await gateway.enroller('press-1', await maker.identity('press-1'));
  const key = newKey();
  expect(await ask(client, topics, await csrMessage('r-1', key))).toMatchObject({
    status: 202,
    code: 'APPROVAL_PENDING',
  });
  const { items } = await listEnrollmentRequests(gateway.deps, { limit: 10 });
  expect(items).toMatchObject([{ deviceId: 'press-1', door: 'mqtt', state: 'waiting' }]);
  return { client, key, id: items[0]?.id ?? '' };
}

async function boundCsr(password: string): Promise<object> {
  const attribute = sequence(oid(OID.challengePassword), setOf(printableString(password)));
  const csr = await makeCsr(makeKey(), { attributes: [attribute] });
  expect(parseCsr(csr).challengePassword).toBe(password);
  return { requestId: 'r-1', csr: csr.toString('base64') };
}

describe('with a claim', () => {
  test('a device gets its certificate and chain, comes back with it, and the claim is spent', async () => {
    const claim = await gateway.claim('press-1');
    const key = newKey();
    const client = await gateway.enroller('press-1', claim);
    const answer = await ask(client, topics, await csrMessage('a-0123456789abcdef', key));
    expect(answer).toMatchObject({ status: 200, code: 'ISSUED', requestId: 'a-0123456789abcdef' });
    // The device named its attempt, so that its own output and the records here agree.
    expect(answer.attemptId).toBe('a-0123456789abcdef');
    const leaf = new X509Certificate(Buffer.from(answer.certificate ?? '', 'base64'));
    const [issuer, root] = (answer.chain ?? []).map((der) => new X509Certificate(Buffer.from(der, 'base64')));
    if (issuer === undefined || root === undefined) throw new Error('a chain of two was expected');
    expect(leaf.verify(issuer.publicKey) && issuer.verify(root.publicKey)).toBe(true);
    expect(leaf.subjectAltName).toContain('/device/press-1');

    const device = await connectDevice(press, credential(answer.certificate, key));
    await client.closed;
    expect(await gateway.connectCode('press-1', claim)).toBe(5);
    expect(gateway.door.broker.sessionsOf(press)).toHaveLength(1);
    device.destroy();
  });

  test('the same key asked again, over another connection too, gets the same certificate', async () => {
    const claim = await gateway.claim('press-1');
    const key = newKey();
    const first = await gateway.enroller('press-1', claim);
    const issued = await ask(first, topics, await csrMessage('r-1', key));
    const again = await ask(first, topics, await csrMessage('r-1', key));
    expect(again).toMatchObject({ status: 200, code: 'GIVEN_AGAIN', certificate: issued.certificate });
    first.destroy();
    const second = await gateway.enroller('press-1', claim);
    const later = await ask(second, topics, await csrMessage('r-2', key));
    expect(later).toMatchObject({ requestId: 'r-2', status: 200, certificate: issued.certificate });
    second.destroy();
  });

  test('another key after that finds the ticket spent', async () => {
    const claim = await gateway.claim('press-1');
    const client = await gateway.enroller('press-1', claim);
    expect(await ask(client, topics, await csrMessage('r-1', newKey()))).toMatchObject({ status: 200 });
    const answer = await ask(client, topics, await csrMessage('r-2', newKey()));
    expect(answer).toMatchObject({ status: 403, code: 'TICKET_SPENT', transient: false });
    expect(answer.detail).toContain('new ticket');
    client.destroy();
  });

  test('of another device opens nothing under this name', async () => {
    await gateway.claim('press-1');
    const other = await gateway.claim('press-2');
    expect(await gateway.connectCode('press-1', other)).toBe(5);
    const client = await gateway.enroller('press-2', other);
    expect(await client.publish(topics.csr, JSON.stringify(await csrMessage('r-1', newKey())))).toBe('closed');
  });

  test('names nobody else in its CSR', async () => {
    const client = await gateway.enroller('press-1', await gateway.claim('press-1'));
    const message = await csrMessage('r-1', newKey(), { commonName: 'press-2' });
    expect(await ask(client, topics, message)).toMatchObject({ status: 403, code: 'CSR_NAMES_ANOTHER' });
    client.destroy();
  });

  test('an hour later it is over, for those who are connected and for those who come', async () => {
    const claim = await gateway.claim('press-1');
    const client = await gateway.enroller('press-1', claim);
    gateway.world.clock.at += HOUR + 2_000;
    await client.closed;
    expect(await gateway.connectCode('press-1', claim)).toBe(5);
  });

  test('whose ticket is taken back is cut at once and let in no more', async () => {
    const claim = await gateway.claim('press-1');
    const client = await gateway.enroller('press-1', claim);
    const [ticket] = await gateway.world.store.read.tickets.listByDevice(press);
    await revokeTicket(gateway.deps, { id: ticket?.id ?? '', actor: 'test' });
    await client.closed;
    expect(await gateway.connectCode('press-1', claim)).toBe(5);
  });

  test.each(['v1/d/press-1/out/state', 'v1/d/press-1/out/data/x'])('is not let write %s', async (topic) => {
    const client = await gateway.enroller('press-1', await gateway.claim('press-1'));
    expect(await client.publish(topic, '{}')).toBe('closed');
  });

  test('may leave no will', async () => {
    const claim = await gateway.claim('press-1');
    const client = await RawClient.open(gateway.address, claim as never);
    const will = { topic: 'v1/d/press-1/out/state', payload: '{}' };
    expect(await client.connect({ clientId: 'press-1', will })).toBe(5);
    client.destroy();
  });
});

describe('with the certificate of its maker', () => {
  test('that never ends, below an intermediate that only the device has, an unknown device waits for auto or a person', async () => {
    const idevid = await maker.identity('press-1');
    const client = await gateway.enroller('press-1', idevid);
    const refused = await ask(client, topics, await csrMessage('r-1', newKey()));
    expect(refused).toMatchObject({ status: 403, code: 'DEVICE_UNKNOWN' });
    await changePolicy(gateway.world, { approval: 'auto' });
    const key = newKey();
    const answer = await ask(client, topics, await csrMessage('r-2', key));
    expect(answer).toMatchObject({ status: 200, code: 'ISSUED' });
    const device = await connectDevice(press, credential(answer.certificate, key));
    await client.closed;
    expect(await gateway.world.store.read.devices.find(press)).toMatchObject({ hardwareSerial: 'press-1' });
    device.destroy();
  });

  test('is asked over TLS 1.2 too', async () => {
    await changePolicy(gateway.world, { approval: 'auto' });
    const idevid = await maker.identity('press-1');
    const client = await RawClient.open(gateway.address, idevid as never, { maxVersion: 'TLSv1.2' });
    expect(await client.connect({ clientId: '' })).toBe(0);
    await client.subscribe(topics.certificate);
    expect(await ask(client, topics, await csrMessage('r-1', newKey()))).toMatchObject({ status: 200 });
    client.destroy();
  });

  test.each([
    ['the CA itself', 'self', 5],
    ['a server', 'a server', 'closed'],
    ['for encryption only', 'for encryption only', 5],
    ['a CA', 'a CA', 5],
  ] as const)('that is %s it is not let in', async (_, kind, code) => {
    const shown = kind === 'self' ? maker.asDevice : await maker.identity('press-1', { kind });
    // TLS asks for the purpose only; the rest is judged at CONNECT. Either way nobody is let in.
    expect([code, 'closed']).toContain(await gateway.connectCode('press-1', shown));
  });

  test('without any extension it is let in, as RFC 5280 has it', async () => {
    const shown = await maker.identity('press-1', { kind: 'without extensions' satisfies IdentityKind });
    expect(await gateway.connectCode('press-1', shown)).toBe(0);
  });

  test('that has ended it is refused by TLS', async () => {
    const shown = await maker.identity('press-1', { end: '20210101000000Z' });
    expect(await gateway.connectCode('press-1', shown)).toBe('closed');
  });

  test('of somebody nobody trusts is refused by TLS', async () => {
    expect(await gateway.connectCode('press-1', await foreign.identity('press-1'))).toBe('closed');
  });

  test('that TLS lets in, but no group trusts (any more), is refused at CONNECT', async () => {
    gateway.reload([maker, foreign]);
    expect(await gateway.connectCode('press-1', await foreign.identity('press-1'))).toBe(5);
  });

  test('whose trust is taken away while it is connected gets no certificate', async () => {
    await changePolicy(gateway.world, { approval: 'auto' });
    const client = await gateway.enroller('press-1', await maker.identity('press-1'));
    for (const { group, sha256 } of await gateway.world.store.read.manufacturerCas.list()) {
      await gateway.distrust(sha256, group);
    }
    expect(await ask(client, topics, await csrMessage('r-1', newKey()))).toMatchObject({
      status: 403,
      code: 'MANUFACTURER_UNTRUSTED',
    });
    client.destroy();
  });

  test('says who it is by its serial number, and may use no other name', async () => {
    const idevid = await maker.identity('press-1');
    expect(await gateway.connectCode('press-2', idevid)).toBe(5);
    expect(await gateway.connectCode('', idevid)).toBe(0);
  });

  test('it never becomes a device: not its topics, not its place', async () => {
    await changePolicy(gateway.world, { approval: 'auto' });
    const idevid = await maker.identity('press-1');
    const key = newKey();
    const enroller = await gateway.enroller('press-1', idevid);
    const answer = await ask(enroller, topics, await csrMessage('r-1', key));
    const device = await connectDevice(press, credential(answer.certificate, key));
    const again = await gateway.enroller('press-1', idevid);
    expect(await again.subscribe('v1/d/press-1/in/#', 'v1/fleet/#')).toEqual([128, 128]);
    expect(await device.ping()).toBe('acked');
    expect(await again.publish('v1/d/press-1/out/state', '{}')).toBe('closed');
    expect(await device.ping()).toBe('acked');
    device.destroy();
  });

  test('with another key for an enrolled device it waits for a person, and displaces nobody', async () => {
    await changePolicy(gateway.world, { approval: 'auto' });
    const idevid = await maker.identity('press-1');
    const key = newKey();
    const first = await gateway.enroller('press-1', idevid);
    const answer = await ask(first, topics, await csrMessage('r-1', key));
    const device = await connectDevice(press, credential(answer.certificate, key));
    await first.closed;
    const again = await gateway.enroller('press-1', idevid);
    const waits = await ask(again, topics, await csrMessage('r-2', newKey()));
    expect(waits).toMatchObject({ status: 202, code: 'APPROVAL_PENDING', transient: true });
    expect(waits.retryAfter).toBeGreaterThan(0);
    expect(await device.ping()).toBe('acked');
    device.destroy();
    again.destroy();
  });
});

describe('what the door itself refuses', () => {
  test.each(['a-0123456789abcdef', 'r-1'])('is an attempt with the id that is told: %s', async (requestId) => {
    const client = await gateway.enroller('press-1', await gateway.claim('press-1'));
    const answer = await ask(client, topics, { requestId, csr: 'A-A_' });
    expect(answer).toMatchObject({ status: 400, code: 'REQUEST_INVALID', requestId });
    const attempt = await showAttempt(gateway.deps, answer.attemptId);
    expect(attempt).toMatchObject({ door: 'mqtt', deviceId: 'press-1', kind: 'enroll', code: 'REQUEST_INVALID' });
    expect(attempt.steps).toMatchObject([{ step: 'request', outcome: 'refused' }]);
    expect(gateway.world.log.lines.find(({ facts }) => facts['attemptId'] === answer.attemptId)).toMatchObject({
      message: 'enrollment refused',
    });
  });

  test('as one too many, too', async () => {
    const client = await gateway.enroller('press-1', await gateway.claim('press-1'));
    let answer = await ask(client, topics, { requestId: 'r-1', csr: 'A-A_' });
    for (let asked = 2; answer.code !== 'RATE_LIMITED'; asked += 1)
      answer = await ask(client, topics, { requestId: `r-${asked}`, csr: 'A-A_' });
    expect(answer).toMatchObject({ status: 429, attemptId: expect.stringMatching(/^a-[0-9a-f]{16}$/) });
  });
});

describe('when a person decides', () => {
  test('yes, the certificate is pushed to the connection that waits', async () => {
    const { client, key, id } = await waiting();
    await approveEnrollment(gateway.deps, { id, actor: 'test' });
    const answer = await nextAnswer(client, topics);
    expect(answer).toMatchObject({ requestId: 'r-1', status: 200, code: 'ISSUED' });
    const device = await connectDevice(press, credential(answer.certificate, key));
    expect(await device.ping()).toBe('acked');
    device.destroy();
  });

  test('no, the refusal is pushed with what that person wrote', async () => {
    const { client, id } = await waiting();
    await refuseEnrollment(gateway.deps, { id, reason: 'wrong site', actor: 'test' });
    const answer = await nextAnswer(client, topics);
    expect(answer).toMatchObject({ requestId: 'r-1', status: 403, code: 'APPROVAL_REFUSED', transient: false });
    expect(answer.detail).toContain('wrong site');
    client.destroy();
  });

  test('while nobody is connected, the next to ask with that key gets it', async () => {
    const { client, key, id } = await waiting();
    client.destroy();
    await client.closed;
    await approveEnrollment(gateway.deps, { id, actor: 'test' });
    const again = await gateway.enroller('press-1', await maker.identity('press-1'));
    expect(await ask(again, topics, await csrMessage('r-1', key))).toMatchObject({ status: 200 });
    again.destroy();
  });
});

describe('a device that renews', () => {
  async function enrolled(): Promise<{ client: RawClient; key: DeviceKey; shown: Shown & { der: Buffer } }> {
    const key = newKey();
    const enroller = await gateway.enroller('press-1', await gateway.claim('press-1'));
    const { certificate } = await ask(enroller, topics, await csrMessage('r-1', key));
    const shown = credential(certificate, key);
    return { client: await connectDevice(press, shown), key, shown };
  }
  const own = deviceTopics(press);

  test('gets the next certificate on its own topic, and the old one goes on until the new one is used', async () => {
    const { client, shown } = await enrolled();
    const key = newKey();
    const answer = await ask(client, own, await csrMessage('r-2', key, { renews: shown.der }));
    expect(answer).toMatchObject({ requestId: 'r-2', status: 200, code: 'ISSUED' });
    const again = await ask(client, own, await csrMessage('r-2', key, { renews: shown.der }));
    expect(again).toMatchObject({ code: 'GIVEN_AGAIN', certificate: answer.certificate });
    expect(await client.ping()).toBe('acked');
    const next = await connectDevice(press, credential(answer.certificate, key));
    await client.closed;
    expect(await next.ping()).toBe('acked');
    next.destroy();
  });

  test('under another name is told so', async () => {
    const { client } = await enrolled();
    const answer = await ask(client, own, await csrMessage('r-2', newKey(), { commonName: 'press-2' }));
    expect(answer).toMatchObject({ status: 403, code: 'IDENTITY_MISMATCH' });
    client.destroy();
  });

  test('with the older of two certificates that are in use is told to use the newer', async () => {
    const { client, shown } = await enrolled();
    const key = newKey();
    const answer = await ask(client, own, await csrMessage('r-2', key, { renews: shown.der }));
    const next = await connectDevice(press, credential(answer.certificate, key));
    await client.closed;
    // Within the overlap the older one may still come back.
    const older = await connectDevice(press, shown);
    await next.closed;
    const late = await ask(older, own, await csrMessage('r-3', newKey(), { renews: shown.der }));
    expect(late).toMatchObject({ status: 403, code: 'CERTIFICATE_SUPERSEDED' });
    older.destroy();
  });
});

describe.each([
  [
    'TLSv1.3',
    (client: RawClient) => client.socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)),
  ],
  ['TLSv1.2', (client: RawClient) => client.socket.getFinished() ?? Buffer.alloc(0)],
] as const)('a CSR made for its connection (RFC 7030 3.5), over %s', (maxVersion, bindingOf) => {
  async function connect(): Promise<RawClient> {
    await changePolicy(gateway.world, { binding: 'required' });
    const claim = await gateway.claim('press-1');
    const client = await RawClient.open(gateway.address, claim as never, { maxVersion });
    expect(await client.connect({ clientId: 'press-1' })).toBe(0);
    await client.subscribe(topics.certificate);
    return client;
  }
  test('is granted where the group requires it', async () => {
    const client = await connect();
    const answer = await ask(client, topics, await boundCsr(bindingOf(client).toString('base64')));
    expect(answer).toMatchObject({ status: 200 });
    client.destroy();
  });

  test('of another connection is refused, and recorded as an attempt', async () => {
    const client = await connect();
    const answer = await ask(client, topics, await boundCsr(Buffer.alloc(32, 7).toString('base64')));
    expect(answer).toMatchObject({ status: 400, code: 'CSR_BINDING_INVALID' });
    await gateway.background.flush();
    const attempt = await gateway.world.store.read.attempts.find(answer.attemptId);
    expect(attempt).toMatchObject({
      deviceId: 'press-1',
      door: 'mqtt',
      outcome: 'refused',
      code: 'CSR_BINDING_INVALID',
    });
    client.destroy();
  });

  test('is asked for where there is none', async () => {
    const client = await connect();
    const answer = await ask(client, topics, await csrMessage('r-1', newKey()));
    expect(answer).toMatchObject({ status: 403, code: 'CSR_BINDING_REQUIRED' });
    client.destroy();
  });
});
