import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { oid, printableString, sequence, setOf, utf8String } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { parseEstBody } from '#gateway/contract/est.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { basic, callEst, type EstGateway, exchangeBytes, openEstGateway } from '#test/fixtures/doors/est-gateway.ts';
import { makeCsr } from '#test/fixtures/processes/device-credential.ts';

const ENROLL = '/.well-known/est/simpleenroll';
const TICKET = '0123456789abcdefghjkmnpqrs';

let gateway: EstGateway;
beforeAll(async () => {
  gateway = await openEstGateway();
  gateway.tickets.set(TICKET, { deviceId: 'device-1' });
});
afterAll(() => gateway.close());

function challengeCsr(password: string, format = printableString): Promise<Buffer> {
  const attribute = sequence(oid(OID.challengePassword), setOf(format(password)));
  return makeCsr(makeKey(), { attributes: [attribute] });
}

/** Enrolls with the challengePassword that is made for the connection. */
async function enroll(
  version: 'TLSv1.2' | 'TLSv1.3',
  passwordFor: (socket: TLSSocket) => string,
): Promise<{ status: number; body: string }> {
  const answer = await exchangeBytes(
    gateway,
    async (socket) => {
      expect(socket.getProtocol()).toBe(version);
      const body = (await challengeCsr(passwordFor(socket))).toString('base64');
      const { Authorization } = basic('device-1', TICKET);
      return (
        `POST ${ENROLL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/pkcs10\r\n` +
        `Authorization: ${Authorization}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      );
    },
    { maxVersion: version },
  );
  const [head = '', body = ''] = answer.toString('latin1').split('\r\n\r\n');
  return { status: Number(head.split(' ')[1]), body };
}

/** RFC 5929: the client's Finished, as the client itself sent it. */
function tlsUnique(socket: TLSSocket): Buffer {
  return socket.getFinished() ?? Buffer.alloc(0);
}

/** RFC 9266. */
function tlsExporter(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
}

describe.each([
  ['TLSv1.2', 'tls-unique', tlsUnique],
  ['TLSv1.3', 'tls-exporter', tlsExporter],
] as const)('over %s', (version, type, bindingOf) => {
  test(`certifies a request whose challengePassword is the ${type} value of the session`, async () => {
    const { status, body } = await enroll(version, (socket) => bindingOf(socket).toString('base64'));
    expect([status, body.split(':')[0]]).toEqual([200, body]);
    const [certificate] = parseCertsOnly(parseEstBody(body) ?? Buffer.alloc(0));
    expect(new X509Certificate(certificate ?? '').subject).toBe('CN=device-1');
  });

  test('refuses the binding of another session', async () => {
    let elsewhere: Buffer | undefined;
    await enroll(version, (socket) => {
      elsewhere = bindingOf(socket);
      return elsewhere.toString('base64');
    });
    const { status, body } = await enroll(version, () => elsewhere?.toString('base64') ?? '');
    expect(status).toBe(400);
    expect(body).toMatch(/^CSR_BINDING_INVALID: .*challengePassword.*RFC 7030 3\.5.*\(attempt a-[0-9a-f]{16}\)\n$/);
    expect(body).toContain(type);
  });

  test.each([
    ['a word', () => 'secret'],
    ['nothing', () => ''],
    ['a part of the binding', (socket: TLSSocket) => bindingOf(socket).subarray(0, 8).toString('base64')],
    ['the binding in hexadecimal', (socket: TLSSocket) => bindingOf(socket).toString('hex')],
    ["the server's Finished", (socket: TLSSocket) => socket.getPeerFinished()?.toString('base64') ?? ''],
  ])('refuses a challengePassword of %s', async (_, passwordFor) => {
    const { status, body } = await enroll(version, passwordFor);
    expect(status).toBe(400);
    expect(body).toMatch(/^CSR_BINDING_INVALID: /);
  });
});

test('checks a renewal, too', async () => {
  const identity = await gateway.authority.issueDevice('device-1');
  gateway.know(identity.der, 'device-1');
  const response = await callEst(gateway, '/.well-known/est/simplereenroll', {
    body: (await challengeCsr('c2VjcmV0', utf8String)).toString('base64'),
    identity,
  });
  expect(response.status).toBe(400);
  expect(response.body).toContain('leave challengePassword out');
});

/** @returns the answers to both requests, which are sent one right after the other */
async function enrollTwice(version: 'TLSv1.2' | 'TLSv1.3', bindingOf: (socket: TLSSocket) => Buffer): Promise<string> {
  const answers = await exchangeBytes(
    gateway,
    async (socket) => {
      const body = (await challengeCsr(bindingOf(socket).toString('base64'))).toString('base64');
      const head =
        `POST ${ENROLL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/pkcs10\r\n` +
        `Authorization: ${basic('device-1', TICKET).Authorization}\r\nContent-Length: ${body.length}\r\n`;
      return `${head}\r\n${body}${head}Connection: close\r\n\r\n${body}`;
    },
    { maxVersion: version },
  );
  return answers.toString('latin1');
}

describe('after a CSR that is bound by tls-exporter', () => {
  test('the connection ends with the answer, and carries no second one (RFC 9266 4.1)', async () => {
    gateway.asked.length = 0;
    const answers = await enrollTwice('TLSv1.3', tlsExporter);
    expect(answers).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answers).toContain('\r\nConnection: close\r\n');
    expect(answers.match(/^HTTP\/1\.1 200 /gm)).toHaveLength(1);
    expect(gateway.asked.filter((order) => 'binding' in order)).toMatchObject([{ binding: 'verified' }]);
  });

  test('but tls-unique serves for all requests of its connection', async () => {
    const answers = await enrollTwice('TLSv1.2', tlsUnique);
    expect(answers.match(/^HTTP\/1\.1 200 /gm)).toHaveLength(2);
  });
});

test('tells the operation whether the CSR was bound', async () => {
  gateway.asked.length = 0;
  await enroll('TLSv1.3', (socket) => tlsExporter(socket).toString('base64'));
  await enroll('TLSv1.2', (socket) => tlsUnique(socket).toString('base64'));
  const body = (await makeCsr(makeKey())).toString('base64');
  await callEst(gateway, ENROLL, { headers: basic('device-1', TICKET), body });
  expect(gateway.asked).toMatchObject([{ binding: 'verified' }, { binding: 'verified' }, { binding: 'none' }]);
});
