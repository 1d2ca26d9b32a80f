import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { EST_BASE_PATH } from '#gateway/contract/est.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { certificateIn, credentialOf, makeCsr, makeRenewalCsr } from '#test/fixtures/processes/device-credential.ts';
import { askEst, basic, type EstAnswer, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';

describe('EST answers as they stand on the wire', () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway?.dispose());

  test('/cacerts: root and intermediate, to anybody (RFC 7030 4.1)', async () => {
    const answer = await askEst(gateway, { path: 'cacerts' });
    expect(answer.status).toBe(200);
    expectReadableByAll(answer);
    expect(answer.header('Content-Type')).toBe('application/pkcs7-mime');
    expect(answer.header('Content-Transfer-Encoding')).toBe('base64');
    const certificates = parseCertsOnly(derOf(answer)).map((der) => parseCertificate(der));
    expect(certificates.map(({ sha256 }) => sha256)).toContain(gateway.ready.rootSha256);
    expect(certificates).toHaveLength(2);
  });

  test('/simpleenroll: the issued certificate, alone (RFC 7030 4.2.3)', async () => {
    const { ticket } = await gateway.addDevice('wire-1');
    const csr = await makeCsr(makeKey());
    const answer = await postCsr(gateway, 'simpleenroll', csr, { headers: basic('wire-1', ticket) });
    expect(answer.status).toBe(200);
    expectReadableByAll(answer);
    // Byte for byte: clients compare it as a string.
    expect(answer.headerLines).toContainEqual(['Content-Type', 'application/pkcs7-mime; smime-type=certs-only']);
    expect(answer.header('Content-Transfer-Encoding')).toBe('base64');
    const der = derOf(answer);
    expect(parseCertsOnly(der)).toHaveLength(1);
    // RFC 5272 4.1: SignedData of version 1 without content, digest algorithms and signers.
    expect(der.includes(Buffer.from('06092a864886f70d010702', 'hex'))).toBe(true);
    expect(der.includes(Buffer.from('0201013100300b06092a864886f70d010701a0', 'hex'))).toBe(true);
    expect(der.subarray(-2).toString('hex')).toBe('3100');
    expect(answer.header('Gatehouse-Attempt')).toMatch(/^a-[0-9a-f]{16}$/);
  });

  test('the same key asked again gets the same certificate, until it has been used', async () => {
    const { ticket } = await gateway.addDevice('again-1');
    const key = makeKey();
    const headers = basic('again-1', ticket);
    const first = certificateIn(await postCsr(gateway, 'simpleenroll', await makeCsr(key), { headers }));
    // Its bytes differ: ECDSA signatures do.
    const second = certificateIn(await postCsr(gateway, 'simpleenroll', await makeCsr(key), { headers }));
    expect(second.equals(first)).toBe(true);
    const other = await postCsr(gateway, 'simpleenroll', await makeCsr(makeKey()), { headers });
    expect([other.status, other.body.split(':')[0]]).toEqual([403, 'TICKET_SPENT']);
  });

  test('an empty user name is legal: the ticket says whose it is (RFC 7030 3.2.3)', async () => {
    const { ticket } = await gateway.addDevice('nameless-1');
    const answer = await postCsr(gateway, 'simpleenroll', await makeCsr(makeKey()), { headers: basic('', ticket) });
    expect(parseCertificate(certificateIn(answer)).uris).toEqual(['spiffe://gatehouse.internal/device/nameless-1']);
  });

  test.each(['base64', '7bit', 'binary', 'nonsense'])(
    'a Content-Transfer-Encoding of %s is ignored (RFC 8951 3)',
    async (encoding) => {
      const { ticket } = await gateway.addDevice(`encoded-${encoding}`);
      const headers = { ...basic(`encoded-${encoding}`, ticket), 'Content-Transfer-Encoding': encoding };
      expect((await postCsr(gateway, 'simpleenroll', await makeCsr(makeKey()), { headers })).status).toBe(200);
    },
  );

  test.each([
    ['LF', '\n'],
    ['CR LF', '\r\n'],
  ])('a body in lines with %s is read, and answered in lines of 64', async (name, end) => {
    const deviceId = `lines-${name.replace(' ', '')}`;
    const { ticket } = await gateway.addDevice(deviceId);
    const body = (await makeCsr(makeKey())).toString('base64').replace(/.{1,64}/g, `$&${end}`);
    const answer = await postCsr(gateway, 'simpleenroll', body, { headers: basic(deviceId, ticket) });
    expectReadableByAll(answer);
    expect(answer.body).toMatch(/^(.{64}\n)+.{1,64}\n$/);
  });

  test('libest gets lines whatever it sends, and a 401 with one challenge first', async () => {
    const { ticket } = await gateway.addDevice('libest-1');
    const agent = { 'User-Agent': 'Cisco EST client 1.0 libest' };
    const csr = await makeCsr(makeKey());
    const challenge = await postCsr(gateway, 'simpleenroll', csr, { headers: agent });
    expect(challenge.status).toBe(401);
    // One header line, scheme with a capital; `header` refuses two.
    expect(challenge.header('WWW-Authenticate')).toMatch(/^Basic realm="[^"]+"$/);
    expectReadableByAll(challenge);
    const headers = { ...agent, ...basic('libest-1', ticket) };
    expect((await postCsr(gateway, 'simpleenroll', csr, { headers })).body).toMatch(/^(.{64}\n)+.{1,64}\n$/);
    expect((await askEst(gateway, { path: 'cacerts', headers: agent })).body).toMatch(/^(.{64}\n)+.{1,64}\n$/);
  });

  test('/simplereenroll renews with the current certificate, over TLS 1.3 and 1.2 (RFC 7030 4.2.2)', async () => {
    const { ticket } = await gateway.addDevice('renewing-1');
    const key = makeKey();
    const first = await postCsr(gateway, 'simpleenroll', await makeCsr(key), { headers: basic('renewing-1', ticket) });
    const current = await credentialOf(gateway, certificateIn(first), key);
    const serials = new Set([current.serial]);
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      const tls = { cert: current.chain, key: current.keyPem, maxVersion };
      const answer = await postCsr(gateway, 'simplereenroll', await makeRenewalCsr(makeKey(), current), { tls });
      expect(answer.status, answer.body).toBe(200);
      expectReadableByAll(answer);
      serials.add(parseCertificate(certificateIn(answer)).serial);
    }
    expect(serials.size).toBe(3);
    // The same key is a renewal without rekey; it is allowed, too.
    const tls = { cert: current.pem, key: current.keyPem };
    expect((await postCsr(gateway, 'simplereenroll', await makeRenewalCsr(key, current), { tls })).status).toBe(200);
  });

  test('/csrattrs: attributes, to anybody (RFC 8951 4)', async () => {
    const answer = await askEst(gateway, { path: 'csrattrs' });
    expect([200, 204, 404]).toContain(answer.status);
    expectReadableByAll(answer);
    expect(answer.header('Content-Type')).toBe('application/csrattrs');
    expect(derOf(answer)[0]).toBe(0x30);
  });

  test.each(['serverkeygen', 'fullcmc'])('/%s is not offered: 404 (RFC 7030 4.3.2, 4.4)', async (path) => {
    const answer = await askEst(gateway, { method: 'POST', path, body: 'MAA=' });
    expect(answer.status).toBe(404);
    expectReadableByAll(answer);
    expect(answer.header('Content-Type')).toMatch(/^text\/plain/);
  });

  test.each([
    ['another path', 'GET', '/', 404],
    ['a label, of which there are none', 'GET', `${EST_BASE_PATH}/plant-7/cacerts`, 404],
    ['a label with an enrolment', 'POST', `${EST_BASE_PATH}/plant-7/simpleenroll`, 404],
    ['a path that climbs', 'GET', `${EST_BASE_PATH}/../../etc/passwd`, 404],
    ['POST to /cacerts', 'POST', `${EST_BASE_PATH}/cacerts`, 405],
    ['GET of /simpleenroll', 'GET', `${EST_BASE_PATH}/simpleenroll`, 405],
    ['DELETE of /simplereenroll', 'DELETE', `${EST_BASE_PATH}/simplereenroll`, 405],
  ])('%s: %s %s is %i, in words', async (_, method, path, status) => {
    const answer = await askEst(gateway, { method, path, ...(method === 'POST' ? { body: 'MAA=' } : {}) });
    expect(answer.status).toBe(status);
    expectReadableByAll(answer);
    expect(answer.body).toMatch(/^[A-Z0-9_]+: .+\n$/);
    if (status === 405) expect(answer.header('Allow')).toMatch(/^(GET|POST)$/);
  });

  test('JSON comes only to those who ask for it', async () => {
    const question = { path: 'simpleenroll', method: 'POST', body: 'MAA=' };
    const headers = { Accept: 'application/problem+json', 'Content-Type': 'application/pkcs10' };
    const answer = await askEst(gateway, { ...question, headers });
    expect(answer.header('Content-Type')).toBe('application/problem+json');
    expect(JSON.parse(answer.body)).toMatchObject({ status: 401, code: 'CREDENTIALS_MISSING' });
    expect((await askEst(gateway, { ...question, headers: { Accept: '*/*' } })).header('Content-Type')).toMatch(
      /^text\/plain/,
    );
  });

  test('there is no EST without TLS, and none older than 1.2', async () => {
    const { port } = gateway.ready.est;
    await expect(fetch(`http://127.0.0.1:${port}${EST_BASE_PATH}/cacerts`)).rejects.toThrow();
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    await expect(askEst(gateway, { path: 'cacerts', tls: old })).rejects.toThrow(/protocol|version/i);
  });

  test('the doors agree on one clock and on where MQTT is', async () => {
    const before = Date.now();
    const answer = await askEst(gateway, { path: '/.well-known/gatehouse' });
    const after = Date.now();
    expect(JSON.parse(answer.body)).toMatchObject({ version: 1, mqtt: { port: gateway.ready.mqtt.port } });
    const { time } = JSON.parse(answer.body) as { time: number };
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(after);
    expect(await readFile(gateway.ready.rootPem, 'utf8')).toContain('BEGIN CERTIFICATE');
  });
});

/** What strongSwan, libest and BouncyCastle insist on, whatever the standards leave open. */
function expectReadableByAll(answer: EstAnswer): void {
  const names = answer.headerLines.map(([name]) => name);
  expect(names).toContain('Content-Type');
  expect(names).toContain('Content-Length');
  expect(names.map((name) => name.toLowerCase())).not.toContain('transfer-encoding');
  expect(Number(answer.header('Content-Length'))).toBe(Buffer.byteLength(answer.body));
  expect(answer.headBytes).toBeLessThanOrEqual(1024);
  expect(names.length).toBeLessThanOrEqual(16);
}

/** RFC 4648 base64 of DER on one line; a final newline is allowed. */
function derOf(answer: EstAnswer): Buffer {
  expect(answer.body).toMatch(/^[A-Za-z0-9+/]+={0,2}\n?$/);
  return Buffer.from(answer.body, 'base64');
}
