import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import type { PublishedList } from '#gateway/domain/status-change.ts';
import type { OcspReply } from '#gateway/operations/answer-ocsp.ts';
import { handleOneAtATime } from '#gateway/runtime/one-at-a-time.ts';
import { createPrometheusMetrics } from '#gateway/runtime/prometheus-metrics.ts';
import { systemClock } from '#gateway/runtime/system-clock.ts';
import type { RootCrl, StatusSources } from '#gateway/validation/status-deps.ts';
import { type StatusDoor, startStatusDoor } from '#gateway/validation/status-door.ts';
import { createMemoryLog } from '#test/fixtures/doors/memory-log.ts';

const HOUR = 3_600_000;
let now: number;
let door: StatusDoor;
let crl: PublishedList | undefined;
let lists: Map<string, PublishedList>;
let rootCrls: RootCrl[];
let answer: (request: Buffer) => OcspReply;
let checks: HealthCheck[];
let log: ReturnType<typeof createMemoryLog>;
let sources: StatusSources;

beforeEach(async () => {
  now = Date.UTC(2026, 0, 1);
  crl = listOf(1, now - HOUR, 'crl one');
  checks = [{ name: 'store', ok: true, detail: 'writes' }];
  log = createMemoryLog();
  lists = new Map();
  rootCrls = [];
  answer = (request) => ({ der: request });
  sources = {
    describeAuthority: () => ({
      rootCertificate: Buffer.from('root'),
      intermediateCertificate: Buffer.from('intermediate'),
    }),
    findList: (scopeName, issuerKeyId) =>
      scopeName === 'full' && issuerKeyId === undefined ? crl : lists.get(`${scopeName}@${issuerKeyId ?? ''}`),
    readRootCrls: () => Promise.resolve(rootCrls),
    answerOcsp: (request) => Promise.resolve(answer(request)),
    checkHealth: () => Promise.resolve(checks),
    mqttContract: { asyncapi: '3.0.0' },
  };
  door = await startStatusDoor(
    { clock: { now: () => now, monotonic: () => systemClock.monotonic() }, log, metrics: createPrometheusMetrics() },
    { host: '127.0.0.1', port: 0, keepOrder: handleOneAtATime },
  );
});
afterEach(() => door.close());

function get(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`http://127.0.0.1:${door.address.port}${path}`, init);
}

test.each([
  STATUS_PATHS.crl,
  STATUS_PATHS.intermediate,
  STATUS_PATHS.rootPem,
  STATUS_PATHS.mqttContract,
  STATUS_PATHS.readyz,
])('answers 503 with Retry-After to %s until the gateway can serve, and at once when it can', async (path) => {
  const before = await get(path);
  expect(before.status).toBe(503);
  expect(before.headers.get('retry-after')).toBe('5');
  door.setReady(sources);
  expect((await get(path)).status).toBe(200);
});

test('is alive and shows metrics from the start', async () => {
  expect((await get(STATUS_PATHS.healthz)).status).toBe(200);
  const metrics = await get(STATUS_PATHS.metrics);
  expect(metrics.headers.get('content-type')).toContain('text/plain');
  expect(await metrics.text()).toContain('process_cpu_seconds_total');
});

test('serves the CRL with its type, its age and its tag', async () => {
  door.setReady(sources);
  const response = await get(STATUS_PATHS.crl);
  expect(response.headers.get('content-type')).toBe('application/pkix-crl');
  expect(response.headers.get('cache-control')).toBe('public, max-age=300');
  expect(response.headers.get('expires')).toBe(new Date(now + 300_000).toUTCString());
  expect(response.headers.get('last-modified')).toBe(new Date(now - HOUR).toUTCString());
  expect(await response.text()).toBe('crl one');
});

test('never lets a cache keep the CRL past its nextUpdate', async () => {
  door.setReady(sources);
  now += HOUR - 60_000;
  expect((await get(STATUS_PATHS.crl)).headers.get('cache-control')).toBe('public, max-age=60');
  now += 2 * HOUR;
  const stale = await get(STATUS_PATHS.crl);
  expect(stale.status).toBe(200);
  expect(stale.headers.get('cache-control')).toBe('public, max-age=0');
});

test('answers 304 to a client that has the CRL, and 200 once there is a newer one', async () => {
  door.setReady(sources);
  const first = await get(STATUS_PATHS.crl);
  const etag = first.headers.get('etag') ?? '';
  const modified = first.headers.get('last-modified') ?? '';
  for (const headers of [
    { 'If-None-Match': etag },
    { 'If-None-Match': `"other", W/${etag}` },
    { 'If-Modified-Since': modified },
  ]) {
    const response = await get(STATUS_PATHS.crl, { headers });
    expect(response.status).toBe(304);
    expect(response.headers.get('etag')).toBe(etag);
  }
  expect(
    (await get(STATUS_PATHS.crl, { headers: { 'If-None-Match': '"other"', 'If-Modified-Since': modified } })).status,
  ).toBe(200);
  crl = listOf(2, now, 'crl two');
  await expect
    .poll(async () => (await get(STATUS_PATHS.crl, { headers: { 'If-None-Match': etag } })).text())
    .toBe('crl two');
});

test('answers HEAD with the headers of GET', async () => {
  door.setReady(sources);
  const response = await get(STATUS_PATHS.crl, { method: 'HEAD' });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-length')).toBe('7');
  expect(await response.text()).toBe('');
});

test('serves delta, shards, and the lists of later issuers by their key id', async () => {
  door.setReady(sources);
  const keyId = 'ab'.repeat(20);
  for (const [name, path] of [
    ['delta@', STATUS_PATHS.deltaCrl],
    ['shard-4-3@', '/crl/shard-4-3.crl'],
    [`full@${keyId}`, `/crl/${keyId}.crl`],
    [`delta@${keyId}`, `/crl/${keyId}-delta.crl`],
    [`shard-4-3@${keyId}`, `/crl/${keyId}-shard-4-3.crl`],
  ] as const) {
    expect((await get(path)).status).toBe(404);
    lists.set(name, { ...listOf(1, now, name), scope: name });
    const response = await get(path);
    expect(response.headers.get('content-type')).toBe('application/pkix-crl');
    expect(await response.text()).toBe(name);
  }
});

test('serves the CRLs of the roots once there are some: each by its key id, that of the issuing CA under a name', async () => {
  door.setReady(sources);
  const [keyId, other] = ['cd'.repeat(20), 'ef'.repeat(20)];
  expect((await get(STATUS_PATHS.rootCrl)).status).toBe(404);
  expect((await get(`/crl/${keyId}.crl`)).status).toBe(404);
  const list = { number: 1, thisUpdate: now, nextUpdate: now + HOUR };
  rootCrls = [
    { ...list, keyId, der: Buffer.from('root crl') },
    { ...list, keyId: other, der: Buffer.from('older root') },
  ];
  await expect.poll(async () => (await get(STATUS_PATHS.rootCrl)).text()).toBe('root crl');
  const [named, older] = await Promise.all([keyId, other].map((id) => get(`/crl/${id}.crl`)));
  expect(await named?.text()).toBe('root crl');
  expect(older?.headers.get('content-type')).toBe('application/pkix-crl');
  expect(older?.headers.get('etag')).not.toBe(named?.headers.get('etag'));
  expect(await older?.text()).toBe('older root');
  expect((await get(`/crl/${other}-delta.crl`)).status).toBe(404);
});

describe('OCSP', () => {
  const type = { 'Content-Type': 'application/ocsp-request' };
  const kept = { etag: '"one"', lastModified: Date.UTC(2026, 0, 1), expires: Date.UTC(2026, 0, 1) + HOUR };

  test('is posted as it is, and not kept on the way', async () => {
    door.setReady(sources);
    const response = await get(STATUS_PATHS.ocsp, { method: 'POST', body: Buffer.from('asked'), headers: type });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/ocsp-response');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.text()).toBe('asked');
  });

  test.each([
    ['plain', encodeURIComponent],
    ['with bare pluses and slashes', (base64: string) => base64],
  ])('is asked for in a path in base64, %s', async (_how, encode) => {
    door.setReady(sources);
    const asked = Buffer.from('fbeffbefffff', 'hex');
    expect(asked.toString('base64')).toBe('++/77///');
    const response = await get(`${STATUS_PATHS.ocsp}/${encode(asked.toString('base64'))}`);
    expect(Buffer.from(await response.arrayBuffer())).toEqual(asked);
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  test('tells caches how long they may keep an answer that is for everybody', async () => {
    door.setReady(sources);
    answer = () => ({ der: Buffer.from('good'), kept });
    const path = `${STATUS_PATHS.ocsp}/AAAA`;
    const response = await get(path);
    expect(response.headers.get('cache-control')).toBe('public, max-age=300, no-transform, must-revalidate');
    expect(response.headers.get('last-modified')).toBe(new Date(kept.lastModified).toUTCString());
    expect(response.headers.get('expires')).toBe(new Date(now + 300_000).toUTCString());
    expect((await get(path, { headers: { 'If-None-Match': kept.etag } })).status).toBe(304);
  });

  test('never lets a cache keep an answer past its nextUpdate', async () => {
    door.setReady(sources);
    answer = () => ({ der: Buffer.from('good'), kept: { ...kept, expires: now + 42_000 } });
    const { headers } = await get(`${STATUS_PATHS.ocsp}/AAAA`);
    expect(headers.get('cache-control')).toBe('public, max-age=42, no-transform, must-revalidate');
    expect(headers.get('expires')).toBe(new Date(now + 42_000).toUTCString());
    answer = () => ({ der: Buffer.from('good'), kept: { ...kept, expires: now - 1000 } });
    const late = await get(`${STATUS_PATHS.ocsp}/AAAB`);
    expect(late.headers.get('cache-control')).toMatch(/^public, max-age=0,/);
  });

  test('of something that is no request goes to the responder as nothing', async () => {
    door.setReady(sources);
    for (const path of ['%20', 'A', '*', 'AAAA%00']) {
      const response = await get(`${STATUS_PATHS.ocsp}/${path}`);
      expect([response.status, await response.text()]).toEqual([200, '']);
    }
  });

  test('larger than any request is refused', async () => {
    door.setReady(sources);
    const response = await get(STATUS_PATHS.ocsp, { method: 'POST', body: Buffer.alloc(20_000), headers: type });
    expect(response.status).toBe(413);
  });

  test('in a path that is none is refused in our own words', async () => {
    door.setReady(sources);
    const response = await get(`${STATUS_PATHS.ocsp}/%zz`);
    expect([response.status, await response.text()]).toEqual([400, 'this is not a request that this door answers\n']);
  });

  test('of another type is refused', async () => {
    door.setReady(sources);
    expect((await get(STATUS_PATHS.ocsp, { method: 'POST', body: 'hello' })).status).toBe(415);
  });
});

test('serves the CA certificates as DER and as PEM', async () => {
  door.setReady(sources);
  const der = await get(STATUS_PATHS.intermediate);
  expect(der.headers.get('content-type')).toBe('application/pkix-cert');
  expect(await der.text()).toBe('intermediate');
  const pem = await get(STATUS_PATHS.rootPem);
  expect(pem.headers.get('content-type')).toBe('application/x-pem-file');
  expect(await pem.text()).toContain('-----BEGIN CERTIFICATE-----\ncm9vdA==\n');
});

test('serves the MQTT contract as JSON, to be kept for a while', async () => {
  door.setReady(sources);
  const response = await get(STATUS_PATHS.mqttContract);
  expect(response.headers.get('content-type')).toBe('application/json');
  expect(response.headers.get('cache-control')).toBe('public, max-age=3600');
  expect(await response.json()).toEqual({ asyncapi: '3.0.0' });
  const headers = { 'If-None-Match': response.headers.get('etag') ?? '' };
  expect((await get(STATUS_PATHS.mqttContract, { headers })).status).toBe(304);
});

test('is not ready when a check fails, and names it', async () => {
  checks = [
    { name: 'store', ok: true, detail: 'writes' },
    { name: 'authority', ok: false, detail: 'no answer', advice: 'start it' },
  ];
  door.setReady(sources);
  const response = await get(STATUS_PATHS.readyz);
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({ ready: false, checks });
});

test('says 503, and why only in the log, when something behind it is broken', async () => {
  door.setReady({ ...sources, readRootCrls: () => Promise.reject(new Error('disk I/O error on /dev/sdb')) });
  const response = await get(STATUS_PATHS.rootCrl);
  expect(response.status).toBe(503);
  expect(await response.text()).not.toContain('sdb');
  expect(log.lines).toContainEqual(expect.objectContaining({ message: 'status request failed' }));
});

test.each([
  ['GET', '/', 404],
  ['GET', '/ca/../etc/passwd', 404],
  ['POST', STATUS_PATHS.crl, 404],
  ['GET', '/%zz', 400],
])('answers %s %s with %i', async (method, path, status) => {
  expect((await get(path, { method })).status).toBe(status);
});

function listOf(number: number, thisUpdate: number, text: string): PublishedList {
  return {
    scope: 'full@issuer',
    number,
    baseNumber: null,
    thisUpdate,
    nextUpdate: Date.UTC(2026, 0, 1) + HOUR,
    entries: 0,
    seq: 0,
    der: Buffer.from(text),
  };
}

/** What comes back, until the door or, after so many answers, we end it: also by RST, in the middle of what is sent. */
async function send(text: string, answers: number): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: door.address.port });
  const ended = new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
  });
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
    if (received.split('HTTP/1.1 ').length > answers) socket.end();
  });
  socket.on('error', () => {});
  socket.write(text);
  await ended;
  return received;
}

const requestOf = (path: string) => `GET ${path} HTTP/1.1\r\nHost: gate\r\n\r\n`;

test('cuts who sends a thousand requests at once, and answers a few in their order', async () => {
  const few = await send(`${requestOf('/healthz')}${requestOf('/nothing')}${requestOf('/healthz')}`, 3);
  expect(few.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200']);
  const many = await send(requestOf('/healthz').repeat(1000), 1000);
  expect(many.split('HTTP/1.1 200').length - 1).toBeLessThanOrEqual(9);
});
