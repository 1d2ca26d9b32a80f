import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { parseCsrAttributes, readCsrWishes } from '#ca/pkix/csr-attributes.ts';
import { OID } from '#ca/pkix/oids.ts';
import { keyAttribute, wantedKeyOf } from '#ca/pkix/wanted-key.ts';
import { parseEstBody } from '#gateway/contract/est.ts';
import { type GroupPolicy, KEY_KINDS } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { DEFAULT_POLICY } from '#gateway/domain/group.ts';
import { createCsr, createTestAuthority } from '#test/fixtures/doors/certificates.ts';
import { basic, callEst, type EstGateway, type EstResponse, openEstGateway } from '#test/fixtures/doors/est-gateway.ts';

const EST = '/.well-known/est';
const TICKET = '0123456789abcdefghjkmnpqrs';

let gateway: EstGateway;
let csr: string;

beforeAll(async () => {
  gateway = await openEstGateway();
  csr = (await createCsr('device-1')).toString('base64');
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.tickets.set(TICKET, { deviceId: 'device-1' });
  gateway.groups.set('presses', DEFAULT_POLICY);
  gateway.asked.length = 0;
  gateway.log.length = 0;
  gateway.counted.length = 0;
  gateway.rollover.length = 0;
  delete gateway.fail.with;
});

function enroll(path: string, headers: Record<string, string> = {}): Promise<EstResponse> {
  return callEst(gateway, path, {
    headers: { 'Content-Type': 'application/pkcs10', ...basic('device-1', TICKET), ...headers },
    body: csr,
  });
}

function derOf(response: EstResponse): Buffer {
  return parseEstBody(response.body) ?? Buffer.alloc(0);
}

async function attributesOf(policy: Partial<GroupPolicy>): Promise<Buffer> {
  gateway.groups.set('presses', { ...DEFAULT_POLICY, ...policy });
  const response = await callEst(gateway, `${EST}/presses/csrattrs`);
  expect(response.status).toBe(200);
  expect(response.headers['content-type']).toBe('application/csrattrs');
  return derOf(response);
}

describe('a label', () => {
  test('is told to every operation, and left out where there is none', async () => {
    expect((await enroll(`${EST}/presses/simpleenroll`)).status).toBe(200);
    expect((await enroll(`${EST}/simpleenroll`)).status).toBe(200);
    const identity = await gateway.authority.issueDevice('device-1');
    gateway.know(identity.der, 'device-1');
    const renewal = await callEst(gateway, `${EST}/presses/simplereenroll`, { body: csr, identity });
    expect(renewal.status).toBe(200);
    await callEst(gateway, `${EST}/presses/tpm-challenge`, {
      headers: { 'Content-Type': 'application/json', ...basic('device-1', TICKET) },
      body: JSON.stringify({ version: 1, akPublic: 'AAAA' }),
    });
    expect(gateway.asked.map(({ label }) => label)).toEqual(['presses', undefined, 'presses', 'presses']);
    expect((await callEst(gateway, `${EST}/presses/nonce`)).status).toBe(200);
  });

  test('that no group has is 404 for every operation', async () => {
    const posts = ['simpleenroll', 'serverkeygen'].map((operation) => enroll(`${EST}/nobody/${operation}`));
    const gets = ['cacerts', 'csrattrs'].map((operation) => callEst(gateway, `${EST}/nobody/${operation}`));
    for (const response of await Promise.all([...posts, ...gets])) {
      expect(response.status).toBe(404);
      expect(response.body).toMatch(/^LABEL_UNKNOWN: .*\(attempt a-[0-9a-f]{16}\)\n$/);
    }
  });

  test('is never the name of an operation, even if a group has it', async () => {
    gateway.groups.set('cacerts', DEFAULT_POLICY);
    for (const path of ['cacerts/csrattrs', 'cacerts/cacerts']) {
      expect((await callEst(gateway, `${EST}/${path}`)).body).toMatch(/^NOT_FOUND: /);
    }
    expect((await enroll(`${EST}/cacerts/simpleenroll`)).status).toBe(404);
    expect(gateway.asked).toEqual([]);
    gateway.groups.delete('cacerts');
  });

  test.each(['%2e%2e', '..%2f..', '%00', `a${'b'.repeat(200)}`, '__proto__', 'constructor'])(
    'of %s finds nothing and breaks nothing',
    async (label) => {
      const response = await callEst(gateway, `${EST}/${label}/csrattrs`);
      expect([400, 404]).toContain(response.status);
    },
  );
});

describe('csrattrs', () => {
  test('without a label are those of the default group: P-256 and ecdsa-with-SHA256, for clients old and new', async () => {
    const der = derOf(await callEst(gateway, `${EST}/csrattrs`));
    const classic = '301506072a8648ce3d0201310a06082a8648ce3d03010706082a8648ce3d040302';
    expect(der.toString('hex').slice(4, 4 + classic.length)).toBe(classic);
    expect(readCsrWishes(der)).toMatchObject({ wantsBinding: false, key: wantedKeyOf('ec-p256') });
    expect(parseCsrAttributes(der).map(({ oid }) => oid)).toEqual([
      OID.ecPublicKey,
      OID.ecdsaWithSha256,
      OID.certificationRequestInfoTemplate,
    ]);
  });

  test.each(KEY_KINDS)('ask for %s in both forms where a group allows nothing else', async (kind) => {
    const der = await attributesOf({ keys: [kind] });
    expect(parseCsrAttributes(der)).toContainEqual(keyAttribute(wantedKeyOf(kind)));
    expect(readCsrWishes(der).key).toEqual(wantedKeyOf(kind));
  });

  test('list challengePassword where a CSR must be bound (RFC 7030 4.5.2), bare and in the template', async () => {
    const der = await attributesOf({ binding: 'required' });
    expect(parseCsrAttributes(der)[0]).toEqual({ oid: OID.challengePassword });
    expect(readCsrWishes(der).wantsBinding).toBe(true);
  });

  test('list the attestation where a group wants a key in a TPM', async () => {
    const items = parseCsrAttributes(await attributesOf({ proof: 'tpm' }));
    expect(items).toContainEqual({ oid: OID.aaAttestation });
  });
});

describe('cacerts', () => {
  test('are the same behind a label', async () => {
    const [plain, labelled] = await Promise.all([
      callEst(gateway, `${EST}/cacerts`),
      callEst(gateway, `${EST}/presses/cacerts`),
    ]);
    expect(labelled).toMatchObject({ status: 200, body: plain.body });
  });

  test('hold the certificates that link two roots while one replaces the other', async () => {
    const old = await createTestAuthority();
    gateway.rollover.push(old.root.der, old.intermediate.der);
    const response = await callEst(gateway, `${EST}/cacerts`);
    const subjects = parseCertsOnly(derOf(response)).map((der) => new X509Certificate(der).subject);
    expect(subjects).toEqual(['CN=Test Intermediate', 'CN=Test Root', 'CN=Test Root', 'CN=Test Intermediate']);
  });
});

describe('a request that waits for a person', () => {
  beforeEach(() => {
    gateway.fail.with = new GatewayError('APPROVAL_PENDING', 'the group has a person decide', { retryAfter: 42 });
  });

  test('is answered 202 with Retry-After and words (RFC 7030 4.2.3)', async () => {
    const response = await enroll(`${EST}/simpleenroll`);
    expect(response.status).toBe(202);
    expect(response.headers['retry-after']).toBe('42');
    expect(response.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect(response.body).toMatch(/^APPROVAL_PENDING: .*\(attempt a-[0-9a-f]{16}\)\n$/);
    expect(response.headerNames).toContain('Content-Length');
    expect(response.headerNames).not.toContain('WWW-Authenticate');
  });

  test('is no failure: asked again and again it is never slowed, nor logged as a refusal', async () => {
    for (let turn = 0; turn < 40; turn += 1) expect((await enroll(`${EST}/simpleenroll`)).status).toBe(202);
    expect(gateway.counted).toEqual([]);
    expect(gateway.log.filter(({ message }) => message.includes('refused'))).toEqual([]);
    delete gateway.fail.with;
    expect((await enroll(`${EST}/simpleenroll`)).status).toBe(200);
  });
});
