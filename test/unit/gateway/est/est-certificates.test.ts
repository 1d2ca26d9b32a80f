import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { Agent } from 'node:https';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createCsr, createTestMaker, type TestIdentity, type TestMaker } from '#test/fixtures/doors/certificates.ts';
import {
  basic,
  callEst,
  type EstGateway,
  type EstResponse,
  openEstGateway,
  tlsOf,
} from '#test/fixtures/doors/est-gateway.ts';

const ENROLL = '/.well-known/est/simpleenroll';
const REENROLL = '/.well-known/est/simplereenroll';
const PKCS10 = { 'Content-Type': 'application/pkcs10' };
const run = promisify(execFile);

let gateway: EstGateway;
let maker: TestMaker;
let identity: TestIdentity;
let csr: string;

beforeAll(async () => {
  maker = await createTestMaker('Acme');
  gateway = await openEstGateway({}, [maker.root.der]);
  identity = await maker.issueIdentity('SN-0042');
  csr = (await createCsr('device-1')).toString('base64');
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.asked.length = 0;
  gateway.counted.length = 0;
  gateway.makers.clear();
  gateway.makers.set(sha256(identity.der), 'SN-0042');
});

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function ask(path: string, shown: TestIdentity, headers: Record<string, string> = {}): Promise<EstResponse> {
  return callEst(gateway, path, { headers: { ...PKCS10, ...headers }, body: csr, identity: shown });
}

/** The names of CAs that a TLS client is told. */
async function namesTold(version: '-tls1_2' | '-tls1_3'): Promise<string> {
  const session = run('openssl', ['s_client', '-connect', `127.0.0.1:${gateway.port}`, version]);
  session.child.stdin?.end();
  const { stdout } = await session;
  return stdout;
}

describe("a maker's certificate", () => {
  test('that has no end enrolls, and what it sent for a chain reaches the operation', async () => {
    expect((await ask(ENROLL, identity)).status).toBe(200);
    const [order] = gateway.asked;
    expect(order).toMatchObject({ door: 'est', binding: 'none', credentials: { by: 'certificate' } });
    if (order === undefined || !('credentials' in order) || order.credentials.by !== 'certificate') throw new Error();
    expect(order.credentials.peer.equals(identity.der)).toBe(true);
    // Though the root of it is among the CAs of the server: Node drops the chain of a client that it trusts.
    expect(order.credentials.chain.map(sha256)).toEqual([sha256(maker.intermediate.der)]);
  });

  test('does over TLS 1.2 alone', async () => {
    const response = await callEst(gateway, ENROLL, { headers: PKCS10, body: csr, identity, maxVersion: 'TLSv1.2' });
    expect(response.status).toBe(200);
    expect(gateway.asked).toMatchObject([{ credentials: { chain: [maker.intermediate.der] } }]);
  });

  test('is asked for again on the same connection', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let turn = 0; turn < 2; turn += 1) {
      const response = await callEst(gateway, ENROLL, { headers: PKCS10, body: csr, identity, agent });
      expect(response.status).toBe(200);
    }
    agent.destroy();
    for (const order of gateway.asked)
      expect(order).toMatchObject({ credentials: { chain: [maker.intermediate.der] } });
  });

  test('makes room for a ticket that is sent with it', async () => {
    gateway.tickets.set('0123456789abcdefghjkmnpqrs', { deviceId: 'device-1' });
    expect((await ask(ENROLL, identity, basic('device-1', '0123456789abcdefghjkmnpqrs'))).status).toBe(200);
    expect(gateway.asked).toMatchObject([{ credentials: { by: 'ticket', deviceId: 'device-1' } }]);
  });

  test('that nobody trusts is answered 401, so that a client with a ticket sends it (RFC 7030 3.2.3)', async () => {
    gateway.makers.clear();
    const response = await ask(ENROLL, identity);
    expect(response.status).toBe(401);
    expect(response.headers['www-authenticate']).toBe('Basic realm="gatehouse"');
    expect(response.body).toMatch(/^MANUFACTURER_UNTRUSTED: .*use a ticket/);
  });

  test('enrolls at simplereenroll as well, where strongSwan sends it, and is judged as a first enrollment', async () => {
    const response = await ask(REENROLL, identity);
    expect(response.status).toBe(200);
    expect(gateway.asked).toMatchObject([{ credentials: { by: 'certificate', chain: [maker.intermediate.der] } }]);
    gateway.makers.clear();
    const refused = await ask(REENROLL, identity);
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([403, undefined]);
  });

  test("that claims a device's name here is taken for a renewal, and refused as such", async () => {
    const foreign = await openEstGateway();
    const stranger = await foreign.authority.issueDevice('device-1');
    await foreign.close();
    expect((await ask(REENROLL, stranger)).body).toMatch(/^CERTIFICATE_UNKNOWN: /);
  });

  test.each(['-tls1_2', '-tls1_3'] as const)('is asked for by the names of trusted makers (%s)', async (version) => {
    const told = await namesTold(version);
    const [, names = ''] = /Acceptable client certificate CA names\n([\s\S]*?)\n(Requested|Client)/.exec(told) ?? [];
    expect(names.split('\n').map((name) => name.replaceAll(' ', ''))).toEqual([
      'CN=TestRoot',
      'CN=TestIntermediate',
      'CN=AcmeRoot',
    ]);
  });

  test('of a maker that was trusted just now is asked for after a reload, and stays so at the next', async () => {
    const other = await createTestMaker('Umbrella');
    gateway.door.reload(tlsOf(gateway.authority, gateway.server), [maker.root.der, other.intermediate.der]);
    expect(await namesTold('-tls1_3')).toMatch(/Umbrella Devices/);
    gateway.door.reload(tlsOf(gateway.authority, gateway.server));
    expect(await namesTold('-tls1_3')).toMatch(/Umbrella Devices/);
    const shown = await other.issueIdentity('U-1');
    gateway.makers.set(sha256(shown.der), 'U-1');
    expect((await ask(ENROLL, shown)).status).toBe(200);
    expect(gateway.asked).toMatchObject([{ credentials: { chain: [other.intermediate.der] } }]);
    gateway.door.reload(tlsOf(gateway.authority, gateway.server), [maker.root.der]);
  });

  test('with a long and senseless chain is cut short', async () => {
    const pem = identity.pem + maker.root.pem.repeat(12);
    expect((await ask(ENROLL, { ...identity, pem })).status).toBe(200);
    const [order] = gateway.asked;
    expect(order).toMatchObject({ credentials: { chain: expect.objectContaining({ length: 8 }) } });
  });
});
