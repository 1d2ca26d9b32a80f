import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatCertsOnly } from '#ca/pkix/cms.ts';
import { formatCsrAttributes } from '#ca/pkix/csr-attributes.ts';
import { explicit, implicit, integer, oid, sequence, setOf } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatRequestTemplate } from '#ca/pkix/request-template.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { createEstClient } from '#device-agent/est/est-client.ts';
import { dialTls } from '#device-agent/runtime/tls-dialer.ts';
import { formatEstBody } from '#gateway/contract/est.ts';
import { formatCertId } from '#gateway/contract/renewal-info.ts';
import { enroll, memoryAgent } from '#test/fixtures/device-agent/memory-agent.ts';
import { type Scripted, ScriptedGateway } from '#test/fixtures/device-agent/scripted-gateway.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

const EST = '/.well-known/est';
const DAY = 24 * 3600_000;
const CSR = Buffer.from('3003020100', 'hex');
const REQUEST = { operation: 'simpleenroll', csr: CSR, attemptId: 'a-0123456789abcdef' } as const;
const BASIC = { user: 'pump-17', password: 'T1CKET' };

let gateway: ScriptedGateway;
const client = createEstClient(dialTls);
beforeEach(async () => {
  gateway = await ScriptedGateway.start();
});
afterEach(() => gateway.stop());

function certificates(): Scripted {
  const { intermediateDer, rootDer } = gateway.authority;
  return { status: 200, body: formatEstBody(formatCertsOnly([intermediateDer, rootDer])) };
}

function openSession() {
  return client.openSession(gateway.target);
}

async function refusalOf(work: Promise<unknown>): Promise<AgentError> {
  const outcome = await work.catch((error: unknown) => error);
  if (outcome instanceof AgentError) return outcome;
  throw new Error(`it was not refused: ${String(outcome)}`);
}

describe('first contact (RFC 7030 4.1.1)', () => {
  test('asks for the CA certificates and for nothing else, and says nothing of its own', async () => {
    gateway.answer = certificates;
    const found = await client.fetchUnverifiedCaCertificates(gateway.address);
    expect(found).toEqual([gateway.authority.intermediateDer, gateway.authority.rootDer]);
    expect(gateway.asked).toMatchObject([
      { method: 'GET', path: `${EST}/cacerts`, body: '', hasCertificate: false, connection: 1 },
    ]);
    expect(gateway.asked[0]?.headers).not.toHaveProperty('authorization');
  });

  test('answers no 401, and follows nobody who has not proved who it is', async () => {
    for (const answer of [
      { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="gatehouse"' } },
      { status: 302, headers: { Location: `${EST}/simpleenroll` } },
      { status: 307, headers: { Location: `${EST}/other/cacerts` } },
    ]) {
      gateway.asked.length = 0;
      gateway.answer = () => answer;
      expect((await refusalOf(client.fetchUnverifiedCaCertificates(gateway.address))).code).toBe('ANSWER_UNFIT');
      expect(gateway.asked.map(({ path }) => path)).toEqual([`${EST}/cacerts`]);
    }
  });

  test('ends with its session: whatever follows goes over one that was verified from the pinned root', async () => {
    const own = await TestGateway.start();
    const connections: { isVerified: boolean; asked: string[]; text: string }[] = [];
    const est = createEstClient(async (target, signal) => {
      const socket = await dialTls(target, signal);
      const written = recordWritten(socket);
      connections.push({
        isVerified:
          target.trust !== 'unverified' && target.trust.anchors.some((der) => der.equals(own.authority.rootDer)),
        get asked() {
          return written.text.match(/^(GET|POST) \S+/gm) ?? [];
        },
        get text() {
          return written.text;
        },
      });
      return socket;
    });
    try {
      await enroll({ ...memoryAgent(), est }, own);
    } finally {
      await own.stop();
    }
    const [first, ...others] = connections;
    expect(first).toMatchObject({ isVerified: false, asked: [`GET ${EST}/cacerts`] });
    expect(first?.text).not.toMatch(/authorization/i);
    expect(others.map(({ isVerified }) => isVerified)).not.toContain(false);
    expect(others.flatMap(({ asked }) => asked)).toContain(`POST ${EST}/simpleenroll`);
  });
});

/** What the agent says over a connection, before it is encrypted. */
function recordWritten(socket: TLSSocket): { text: string } {
  const written = { text: '' };
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  socket._write = (chunk, encoding, done) => {
    written.text += String(chunk);
    write(chunk, encoding, done);
  };
  if (writev) {
    socket._writev = (chunks, done) => {
      for (const { chunk } of chunks) written.text += String(chunk);
      writev(chunks, done);
    };
  }
  return written;
}

describe('the CA certificates', () => {
  test.each([201, 202, 203, 204, 206, 303, 401, 404, 500])(
    'are not there with status %i (RFC 7030 4.1.3)',
    async (status) => {
      gateway.answer = () => ({ ...certificates(), status });
      const session = openSession();
      const { code } = await refusalOf(session.fetchCaCertificates());
      expect(code).toBe(status === 500 ? 'GATEWAY_BUSY' : 'ANSWER_UNFIT');
      session.close();
    },
  );

  test.each<[string, Scripted]>([
    [
      'with a Content-Transfer-Encoding that is wrong',
      { status: 200, headers: { 'Content-Transfer-Encoding': '8bit' } },
    ],
    ['with another content type', { status: 200, headers: { 'Content-Type': 'text/html' } }],
    ['without a length', { status: 200, headers: { 'Transfer-Encoding': 'chunked' } }],
  ])('are read %s (RFC 8951 3)', async (_what, told) => {
    gateway.answer = () => ({ ...certificates(), ...told });
    expect(await client.fetchUnverifiedCaCertificates(gateway.address)).toHaveLength(2);
  });

  test.each<[string, (text: string) => string]>([
    ['lines of 64 columns', (text) => text.replace(/.{1,64}/g, '$&\n')],
    ['lines that end with CR LF', (text) => text.replace(/.{1,76}/g, '$&\r\n')],
    ['spaces and tabs', (text) => ` \t${text.replace(/.{1,10}/g, '$& \t')}`],
  ])('are read in base64 with %s (RFC 8951 3.1)', async (_what, format) => {
    gateway.answer = () => ({ ...certificates(), body: format(certificates().body?.trimEnd() ?? '') });
    expect(await client.fetchUnverifiedCaCertificates(gateway.address)).toHaveLength(2);
  });

  test('are read beside an empty field of CRLs', async () => {
    const carried = implicit(0, gateway.authority.rootDer, { constructed: true });
    const crls = implicit(1, Buffer.alloc(0), { constructed: true });
    const signedData = sequence(integer(1), setOf(), sequence(oid(OID.data)), carried, crls, setOf());
    const body = formatEstBody(sequence(oid(OID.signedData), explicit(0, signedData)));
    gateway.answer = () => ({ status: 200, body });
    expect(await client.fetchUnverifiedCaCertificates(gateway.address)).toEqual([gateway.authority.rootDer]);
  });

  test('are given up when they are more than any gateway has', async () => {
    gateway.answer = () => ({ status: 200, body: 'A'.repeat(300 * 1024) });
    expect(await refusalOf(client.fetchUnverifiedCaCertificates(gateway.address))).toMatchObject({
      code: 'ANSWER_UNFIT',
      message: expect.stringContaining('too large'),
    });
  });
});

describe('a redirect (RFC 7030 3.2.1)', () => {
  test.each([301, 302, 307, 308])('with %i within the origin is followed as it was asked', async (status) => {
    gateway.answer = ({ path }) =>
      path === `${EST}/simpleenroll`
        ? { status, headers: { Location: '/est2/simpleenroll?x=1' } }
        : { status: 403, body: 'TICKET_SPENT: it was used' };
    const session = openSession();
    const answer = await session.enroll({ ...REQUEST, basic: BASIC });
    session.close();
    expect(answer).toMatchObject({ kind: 'refused', code: 'TICKET_SPENT' });
    expect(gateway.asked.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `POST ${EST}/simpleenroll`,
      'POST /est2/simpleenroll?x=1',
    ]);
    const [first, second] = gateway.asked;
    expect(second?.body).toBe(first?.body);
    expect(second?.headers).toEqual(first?.headers);
  });

  test('to another origin takes neither ticket nor CSR there', async () => {
    const other = await ScriptedGateway.start(gateway.authority);
    const { port } = gateway.address;
    try {
      for (const location of [
        `https://127.0.0.1:${other.address.port}${EST}/simpleenroll`,
        `https://localhost:${port}${EST}/simpleenroll`,
        `http://127.0.0.1:${port}${EST}/simpleenroll`,
        `//127.0.0.1:${other.address.port}/x`,
        'https://[::',
        '',
      ]) {
        gateway.asked.length = 0;
        gateway.answer = () => ({ status: 307, headers: { Location: location } });
        const session = openSession();
        const error = await refusalOf(session.enroll({ ...REQUEST, basic: BASIC }));
        session.close();
        // An empty one means the same place again.
        const places = location === '' ? 4 : 1;
        expect(error).toMatchObject({ code: 'ANSWER_UNFIT', message: expect.stringContaining('redirects') });
        expect(gateway.asked).toHaveLength(places);
      }
      gateway.answer = () => ({ status: 307 });
      const session = openSession();
      expect((await refusalOf(session.fetchCaCertificates())).code).toBe('ANSWER_UNFIT');
      session.close();
      expect(other.asked).toEqual([]);
    } finally {
      await other.stop();
    }
  });

  test('takes no CSR along that is bound to the connection it came over', async () => {
    gateway.answer = ({ method }) =>
      method === 'POST' ? { status: 307, headers: { Location: '/elsewhere' } } : { status: 404 };
    const session = openSession();
    await session.channelBinding();
    expect(await refusalOf(session.enroll(REQUEST))).toMatchObject({
      code: 'ANSWER_UNFIT',
      message: expect.stringContaining('bound'),
    });
    session.close();
    expect(gateway.asked.map(({ path }) => path)).toEqual([`${EST}/csrattrs`, `${EST}/simpleenroll`]);
  });
});

describe('a CSR that is bound (RFC 9266 4.1)', () => {
  test('goes over the connection it was made for, which takes nothing after it', async () => {
    gateway.answer = () => ({ status: 404, body: 'NOT_FOUND: nothing' });
    const session = openSession();
    await session.channelBinding();
    await session.enroll(REQUEST);
    await session.wantsBinding();
    session.close();
    expect(gateway.asked.map(({ connection }) => connection)).toEqual([1, 1, 2]);
    expect(gateway.asked[1]?.headers.connection).toBe('close');
  });

  test('goes nowhere when that connection has ended', async () => {
    gateway.answer = () => ({ status: 404, headers: { Connection: 'close' } });
    const session = openSession();
    const bound = session.channelBinding();
    // Either it is seen at once that it has ended, or when the request is to go over it.
    expect((await refusalOf(bound.then(() => session.enroll(REQUEST)))).code).toBe('GATEWAY_UNREACHABLE');
    session.close();
    expect(gateway.asked.map(({ method }) => method)).toEqual(['GET']);
  });
});

describe('202 (RFC 7030 4.2.3)', () => {
  const date = 'Mon, 02 Mar 2026 10:00:00 GMT';
  test.each<[string, Record<string, string>, number]>([
    ['in seconds', { 'Retry-After': '7' }, 7000],
    [
      'as a date, counted from that of the answer',
      { Date: date, 'Retry-After': 'Mon, 02 Mar 2026 10:01:30 GMT' },
      90_000,
    ],
    ['in the form of RFC 850', { Date: date, 'Retry-After': 'Monday, 02-Mar-26 10:01:30 GMT' }, 90_000],
    ['in the form of asctime, which is UTC', { Date: date, 'Retry-After': 'Mon Mar  2 10:01:30 2026' }, 90_000],
    ['longer than a day', { 'Retry-After': String(14 * 24 * 3600) }, 14 * DAY],
    ['for years', { 'Retry-After': '999999999' }, 30 * DAY],
    ['not at all', {}, 60_000],
  ])('that says %s how long is waited for', async (_how, headers, retryAfterMs) => {
    gateway.answer = () => ({ status: 202, headers, body: 'APPROVAL_PENDING: a person decides' });
    const session = openSession();
    expect(await session.enroll(REQUEST)).toEqual({ kind: 'pending', attemptId: REQUEST.attemptId, retryAfterMs });
    session.close();
  });
});

const bare = { oid: OID.challengePassword };
const templateOf = (...attributes: { oid: string; values: [] }[]) => ({
  oid: OID.certificationRequestInfoTemplate,
  values: [formatRequestTemplate({ attributes })],
});
const listOf = (...items: Parameters<typeof formatCsrAttributes>[0]): Scripted => ({
  status: 200,
  body: formatEstBody(formatCsrAttributes(items)),
});

describe('the CSR attributes', () => {
  test.each<[string, Scripted, boolean]>([
    ['status 204', { status: 204 }, false],
    ['status 404', { status: 404, body: 'NOT_FOUND: nothing' }, false],
    ['an empty list', { status: 200, body: 'MAA=' }, false],
    [
      'the example of RFC 9908 5.2',
      { status: 200, body: 'MDIGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgcrBgEBAQEWBggqhkjOPQQDAw==' },
      true,
    ],
    ['nothing but what is not known', listOf({ oid: '1.2.3.4', values: [integer(1)] }, { oid: '2.999' }), false],
    ['a template that wants it, alone', listOf(templateOf({ ...bare, values: [] })), true],
    ['a template that wants nothing beside a bare OID (RFC 9908 4)', listOf(bare, templateOf()), false],
  ])('with %s: bound %s', async (_what, told, wanted) => {
    gateway.answer = () => told;
    const session = openSession();
    expect(await session.wantsBinding()).toBe(wanted);
    session.close();
  });

  test('that cannot be read stop the request', async () => {
    gateway.answer = () => ({ status: 200, body: formatEstBody(Buffer.from('3003', 'hex')) });
    const session = openSession();
    expect((await refusalOf(session.wantsBinding())).code).toBe('ANSWER_UNFIT');
    session.close();
  });
});

describe('renewal information (RFC 9773)', () => {
  const name = { issuerKeyId: '69885b6b87464041e1b37b847ba0ae2cde01c8d4', serial: '0087654321' };
  const window = { start: '2026-06-01T03:00:00Z', end: '2026-06-02T03:00:00Z' };
  const asked = async (told: Scripted) => {
    gateway.answer = () => told;
    const session = openSession();
    try {
      return await session.fetchRenewalInfo(name);
    } finally {
      session.close();
    }
  };

  test('is asked for by the name of the certificate, without credentials', async () => {
    const body = JSON.stringify({ suggestedWindow: window, explanationURL: 'https://example.com/' });
    const { window: told, retryAfterMs } = await asked({ status: 200, headers: { 'Retry-After': '21600' }, body });
    expect(told).toEqual({ start: Date.parse(window.start), end: Date.parse(window.end) });
    expect(retryAfterMs).toBe(6 * 3600_000);
    expect(gateway.asked).toMatchObject([
      { path: '/.well-known/est/renewal-info/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE', hasCertificate: false },
    ]);
    expect(formatCertId(name)).toBe('aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE');
  });

  test.each<[string, Scripted, number]>([
    ['of a gateway that knows no such certificate', { status: 404 }, 6 * 3600_000],
    ['of a gateway that cannot read the name', { status: 400, headers: { 'Retry-After': '5' } }, 60_000],
    [
      'with an end that is not after the start',
      { status: 200, body: JSON.stringify({ suggestedWindow: { start: window.end, end: window.end } }) },
      6 * 3600_000,
    ],
    ['that is no JSON', { status: 200, headers: { 'Retry-After': '999999' }, body: '<html>' }, DAY],
  ])('%s is no advice', async (_what, told, retryAfterMs) => {
    expect(await asked(told)).toEqual({ window: undefined, retryAfterMs });
  });

  test.each([429, 500, 503])('with status %i may be there later', async (status) => {
    const error = await refusalOf(asked({ status, headers: { 'Retry-After': '120' } }));
    expect(error).toMatchObject({ code: 'GATEWAY_BUSY', retryAfterMs: 120_000 });
  });
});
