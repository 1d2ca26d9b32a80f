import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { parseEstBody } from '#gateway/contract/est.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { createCsr } from '#test/fixtures/doors/certificates.ts';
import { basic, callEst, type EstGateway, exchangeBytes, openEstGateway } from '#test/fixtures/doors/est-gateway.ts';

const EST = '/.well-known/est';
const TICKET = '0123456789abcdefghjkmnpqrs';
const PKCS10 = { 'Content-Type': 'application/pkcs10' };

let gateway: EstGateway;
let csr: Buffer;

beforeAll(async () => {
  gateway = await openEstGateway();
  csr = await createCsr('device-1');
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.tickets.clear();
  gateway.tickets.set(TICKET, { deviceId: 'device-1' });
  gateway.log.length = 0;
  gateway.counted.length = 0;
  delete gateway.fail.with;
});

function certificatesIn(body: string): X509Certificate[] {
  const der = parseEstBody(body);
  return parseCertsOnly(der ?? Buffer.alloc(0)).map((certificate) => new X509Certificate(certificate));
}

test('gives root and intermediate to a client without a certificate', async () => {
  const response = await callEst(gateway, `${EST}/cacerts`);
  expect(response.status).toBe(200);
  expect(response.headers['content-type']).toBe('application/pkcs7-mime');
  expect(certificatesIn(response.body).map(({ subject }) => subject)).toEqual(['CN=Test Intermediate', 'CN=Test Root']);
  expect(response.body.trimEnd()).not.toContain('\n');
});

test('certifies the key of a device that brings its ticket, and gives back that certificate only', async () => {
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', TICKET) },
    body: csr.toString('base64'),
  });
  expect(response.status).toBe(200);
  expect(response.headers['content-type']).toBe('application/pkcs7-mime; smime-type=certs-only');
  expect(certificatesIn(response.body).map(({ subject }) => subject)).toEqual(['CN=device-1']);
  expect(gateway.counted).toEqual([]);
});

test('writes header names with their capitals, a length and no chunks, all within the first KiB', async () => {
  const request =
    `POST ${EST}/simpleenroll HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/pkcs10\r\nConnection: close\r\n` +
    `Authorization: ${basic('device-1', TICKET).Authorization}\r\nContent-Length: ${csr.toString('base64').length}\r\n\r\n`;
  const raw = (await exchangeBytes(gateway, request + csr.toString('base64'))).toString('latin1');
  const [head = '', body = ''] = raw.split('\r\n\r\n');
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(head).toContain('\r\nContent-Type: application/pkcs7-mime; smime-type=certs-only\r\n');
  expect(head).toContain(`\r\nContent-Length: ${body.length}\r\n`);
  expect(head).toContain('\r\nContent-Transfer-Encoding: base64\r\n');
  expect(head).toMatch(/\r\nGatehouse-Attempt: a-[0-9a-f]{16}\r\n/);
  expect(head).not.toMatch(/transfer-encoding: chunked/i);
  expect(head.length).toBeLessThan(1024);
  expect(head.split('\r\n').length - 1).toBeLessThanOrEqual(16);
});

test.each([
  ['64 columns with LF', (text: string) => text.replace(/.{1,64}/g, '$&\n'), {}, true],
  ['64 columns with CRLF', (text: string) => text.replace(/.{1,64}/g, '$&\r\n'), {}, true],
  ['one line with a newline at its end', (text: string) => `${text}\n`, {}, false],
  ['one line from libest', (text: string) => text, { 'User-Agent': 'libest 1.0' }, true],
  ['spaces and tabs inside', (text: string) => text.replace(/.{1,40}/g, '$& \t'), {}, false],
  ['a lying Content-Transfer-Encoding', (text: string) => text, { 'Content-Transfer-Encoding': 'binary' }, false],
  ['parameters after the content type', (text: string) => text, { 'Content-Type': 'Application/PKCS10; a=b' }, false],
])('takes a body of %s, and answers in the form that such a client can read', async (_, format, headers, lines) => {
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', TICKET), ...headers },
    body: format(csr.toString('base64')),
  });
  expect(response.status).toBe(200);
  expect(certificatesIn(response.body)).toHaveLength(1);
  expect(response.body.trimEnd().includes('\n')).toBe(lines);
  if (lines) expect(Math.max(...response.body.split('\n').map((line) => line.length))).toBe(64);
});

test('leaves an empty user name to the operation, which knows the device by its ticket', async () => {
  const { status } = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('', TICKET) },
    body: csr.toString('base64'),
  });
  expect(status).toBe(200);
});

test('takes a body without a Content-Type', async () => {
  const { status } = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: basic('device-1', TICKET),
    body: csr.toString('base64'),
  });
  expect(status).toBe(200);
});

test('asks for Basic, once, when there are no credentials', async () => {
  const response = await callEst(gateway, `${EST}/simpleenroll`, { headers: PKCS10, body: csr.toString('base64') });
  expect(response.status).toBe(401);
  expect(response.headerNames.filter((name) => name === 'WWW-Authenticate')).toHaveLength(1);
  expect(response.headers['www-authenticate']).toBe('Basic realm="gatehouse"');
  expect(gateway.counted).toEqual(['CREDENTIALS_MISSING']);
});

test.each([
  ['an unknown ticket', basic('device-1', 'wrong'), 401, 'TICKET_UNKNOWN'],
  ['a ticket of another device', basic('device-2', TICKET), 403, 'TICKET_OF_ANOTHER_DEVICE'],
  ['another scheme', { Authorization: `Bearer ${TICKET}` }, 401, 'CREDENTIALS_MISSING'],
  ['a Basic header that is not base64', { Authorization: 'Basic ???' }, 401, 'CREDENTIALS_MISSING'],
])('refuses %s', async (_, headers, status, code) => {
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...headers },
    body: csr.toString('base64'),
  });
  expect(response.status).toBe(status);
  expect(response.body).toMatch(new RegExp(`^${code}: .+\\. .+\\. \\(attempt a-[0-9a-f]{16}\\)\n$`));
  expect(response.headers['content-type']).toBe('text/plain; charset=utf-8');
  expect('www-authenticate' in response.headers).toBe(status === 401);
});

test('refuses a spent ticket with what to do next', async () => {
  gateway.tickets.set(TICKET, { deviceId: 'device-1', spent: true });
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', TICKET) },
    body: csr.toString('base64'),
  });
  expect(response.status).toBe(403);
  expect(response.body).toContain('TICKET_SPENT: the ticket was used. Ask the operator for a new ticket');
});

test.each([
  [
    'PEM',
    '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n',
    400,
    'without the PEM lines',
  ],
  ['raw DER', Buffer.from([0x30, 0x03, 0x02, 0x01, 0xff]), 400, 'BODY_NOT_BASE64'],
  ['garbage', 'not base64 at all!', 400, 'BODY_NOT_BASE64'],
  ['nothing', '', 400, 'the body is empty'],
  ['base64 of something else', Buffer.from('hello').toString('base64'), 400, 'CSR_MALFORMED'],
  ['a wrong length of padding', 'AAAAA', 400, 'BODY_NOT_BASE64'],
])('refuses a body of %s', async (_, body, status, words) => {
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', TICKET) },
    body,
  });
  expect(response.status).toBe(status);
  expect(response.body).toContain(words);
});

test('refuses a request whose signature is of another key', async () => {
  const forged = Buffer.from(csr);
  forged[forged.length - 1] = (forged[forged.length - 1] ?? 0) ^ 1;
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', TICKET) },
    body: forged.toString('base64'),
  });
  expect(response.status).toBe(400);
  expect(response.body).toContain('CSR_SIGNATURE_INVALID');
});

test('answers 413 to a body of 2 MB, with or without its length told, and serves the next request', async () => {
  const body = Buffer.alloc(2 * 1024 * 1024, 'A');
  const headers = { ...PKCS10, ...basic('device-1', TICKET) };
  const told = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...headers, 'Content-Length': String(body.length) },
    body,
  });
  const chunked = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...headers, 'Transfer-Encoding': 'chunked' },
    body,
  });
  for (const response of [told, chunked]) {
    expect(response.status).toBe(413);
    expect(response.body).toContain('BODY_TOO_LARGE');
  }
  expect((await callEst(gateway, `${EST}/cacerts`)).status).toBe(200);
});

test('refuses another content type before it reads the body', async () => {
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { 'Content-Type': 'application/json', ...basic('device-1', TICKET) },
    body: '{}',
  });
  expect(response.status).toBe(415);
});

test('renews over the certificate of the TLS session', async () => {
  const identity = await gateway.authority.issueDevice('device-1');
  gateway.know(identity.der, 'device-1');
  const response = await callEst(gateway, `${EST}/simplereenroll`, {
    headers: PKCS10,
    body: csr.toString('base64'),
    identity,
  });
  expect(response.status).toBe(200);
  expect(certificatesIn(response.body)).toHaveLength(1);
});

test('does not renew without a certificate, and says so with 401', async () => {
  const response = await callEst(gateway, `${EST}/simplereenroll`, { headers: PKCS10, body: csr.toString('base64') });
  expect(response.status).toBe(401);
  expect(response.body).toContain('no client certificate was shown');
  expect(response.headers['www-authenticate']).toBeDefined();
});

test('lets a foreign certificate finish the handshake and refuses it with 403', async () => {
  const foreign = await openEstGateway();
  try {
    const identity = await foreign.authority.issueDevice('device-1');
    const response = await callEst(gateway, `${EST}/simplereenroll`, {
      headers: PKCS10,
      body: csr.toString('base64'),
      identity,
    });
    expect(response.status).toBe(403);
    expect(response.body).toContain('CERTIFICATE_UNKNOWN');
  } finally {
    await foreign.close();
  }
});

test('tells an agent where the broker is and what time it is', async () => {
  const before = Date.now();
  const response = await callEst(gateway, '/.well-known/gatehouse');
  const after = Date.now();
  expect(response.headers['content-type']).toBe('application/json');
  const directory: unknown = JSON.parse(response.body);
  expect(directory).toMatchObject({ version: 1, trustDomain: 'test', mqtt: { port: 8883 } });
  expect((directory as { time: number }).time).toBeGreaterThanOrEqual(before);
  expect((directory as { time: number }).time).toBeLessThanOrEqual(after);
});

test.each([
  ['GET', '/', 404],
  ['GET', `${EST}/serverkeygen`, 405],
  ['POST', `${EST}/serverkeygen`, 404],
  ['GET', `${EST}/cacerts/cacerts`, 404],
  ['GET', `${EST}/fullcmc/cacerts`, 404],
  ['GET', `${EST}//cacerts`, 404],
  ['GET', `${EST}/default/cacerts/x`, 404],
  ['POST', `${EST}/default/cacerts`, 405],
  ['POST', `${EST}/fullcmc`, 404],
  ['GET', `${EST}/other-ca/cacerts`, 404],
  ['POST', `${EST}/cacerts`, 405],
  ['GET', `${EST}/simpleenroll`, 405],
  ['PUT', `${EST}/simpleenroll`, 405],
  ['GET', `${EST}/%zz`, 400],
  ['GET', `${EST}/constructor`, 404],
])('answers %s %s with %i as text', async (method, path, status) => {
  const response = await callEst(gateway, path, { method });
  expect(response.status).toBe(status);
  expect(response.headers['content-type']).toBe('text/plain; charset=utf-8');
  expect(response.body).toMatch(/\(attempt a-[0-9a-f]{16}\)\n$/);
});

test('uses the attempt id of the client, in the answer and in the log', async () => {
  const id = 'a-00112233445566aa';
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', 'wrong'), 'Gatehouse-Attempt': id },
    body: csr.toString('base64'),
  });
  expect(response.headers['gatehouse-attempt']).toBe(id);
  expect(response.body).toContain(`(attempt ${id})`);
  expect(gateway.log).toContainEqual(
    expect.objectContaining({
      message: 'est request refused',
      facts: expect.objectContaining({ attemptId: id, code: 'TICKET_UNKNOWN', deviceId: 'device-1' }) as object,
    }),
  );
});

test('makes an attempt id of its own when the client sends something else', async () => {
  const response = await callEst(gateway, `${EST}/cacerts`, { headers: { 'Gatehouse-Attempt': 'a-1\tx' } });
  expect(response.headers['gatehouse-attempt']).toMatch(/^a-[0-9a-f]{16}$/);
});

test('answers in problem+json to a client that asks for JSON', async () => {
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', 'wrong'), Accept: 'application/problem+json' },
    body: csr.toString('base64'),
  });
  expect(response.headers['content-type']).toBe('application/problem+json');
  expect(JSON.parse(response.body)).toMatchObject({ status: 401, code: 'TICKET_UNKNOWN', title: 'Unauthorized' });
});

test('tells nothing of an unexpected error outside and everything in the log', async () => {
  gateway.fail.with = new Error('disk sdb1 is on fire');
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', TICKET) },
    body: csr.toString('base64'),
  });
  expect(response.status).toBe(500);
  expect(response.body).not.toContain('sdb1');
  expect(gateway.log).toContainEqual(
    expect.objectContaining({
      level: 'error',
      facts: expect.objectContaining({ error: gateway.fail.with }) as object,
    }),
  );
});

test('passes on how long to wait while the authority is away', async () => {
  gateway.fail.with = new GatewayError('AUTHORITY_UNAVAILABLE', 'connect ENOENT /run/secret.sock', { retryAfter: 7 });
  const response = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', TICKET) },
    body: csr.toString('base64'),
  });
  expect(response.status).toBe(503);
  expect(response.headers['retry-after']).toBe('7');
  expect(response.body).not.toContain('ENOENT');
});

test('never writes a ticket or a request into the log', async () => {
  await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { ...PKCS10, ...basic('device-1', TICKET) },
    body: csr.toString('base64'),
  });
  const text = JSON.stringify(gateway.log);
  expect(text).not.toContain(TICKET);
  expect(text).not.toContain(csr.toString('base64').slice(0, 40));
});

test('never writes a ticket into the log that was sent as the user name', async () => {
  const { status } = await callEst(gateway, `${EST}/simpleenroll`, {
    headers: { 'Content-Type': 'text/plain', ...basic(TICKET.toUpperCase(), 'device-1') },
    body: csr.toString('base64'),
  });
  expect(status).toBe(415);
  expect(gateway.log.map(({ message }) => message)).toContain('est request refused');
  expect(JSON.stringify(gateway.log).toLowerCase()).not.toContain(TICKET);
});
