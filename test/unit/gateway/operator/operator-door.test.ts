import { request as httpsRequest } from 'node:https';
import * as fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  OPERATOR_DOCUMENTS,
  OPERATOR_ROUTES,
  type OperatorRoute,
  operatorPath,
} from '#gateway/contract/operator-paths.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { type OperatorDoor, startOperatorDoor } from '#gateway/operator/operator-doors.ts';
import { handleOneAtATime } from '#gateway/runtime/one-at-a-time.ts';
import { createTestAuthority } from '#test/fixtures/doors/certificates.ts';
import { tlsOf } from '#test/fixtures/doors/est-gateway.ts';
import {
  conflict,
  MQTT_CONTRACT,
  type OperatorGateway,
  openOperatorGateway,
  sendJson,
} from '#test/fixtures/doors/operator-gateway.ts';

let gateway: OperatorGateway;
beforeAll(async () => {
  gateway = await openOperatorGateway();
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.calls.length = 0;
  gateway.log.length = 0;
  delete gateway.failWith.error;
});

const actor = 'local:tester';
const page = { limit: 100 };
const device = operatorPath('showDevice', ['press-07']);

test.each<[string, OperatorRoute, string[], Record<string, string | number>, unknown, number, string, unknown]>([
  [
    'adds a device',
    'addDevice',
    [],
    {},
    { deviceId: 'press-07', owner: 'line 3' },
    201,
    'addDevice',
    { deviceId: 'press-07', owner: 'line 3', actor },
  ],
  [
    'lists devices',
    'listDevices',
    [],
    { group: 'g', state: 'enrolled', limit: 5, after: 'a' },
    undefined,
    200,
    'listDevices',
    { limit: 5, after: 'a', group: 'g', state: 'enrolled' },
  ],
  ['lists with a limit of its own', 'listDevices', [], {}, undefined, 200, 'listDevices', page],
  ['shows a device', 'showDevice', ['press-07'], {}, undefined, 200, 'showDevice', 'press-07'],
  [
    'orders a renewal',
    'renewDevice',
    ['press-07'],
    {},
    { reason: 'new root' },
    200,
    'orderRenewal',
    { deviceId: 'press-07', reason: 'new root', actor },
  ],
  [
    'orders a renewal without a word',
    'renewDevice',
    ['press-07'],
    {},
    undefined,
    200,
    'orderRenewal',
    { deviceId: 'press-07', actor },
  ],
  ['makes another ticket', 'addTicket', ['press-07'], {}, {}, 201, 'addTicket', { deviceId: 'press-07', actor }],
  ['shows progress', 'showProgress', ['press-07'], {}, undefined, 200, 'showProgress', 'press-07'],
  [
    'lists certificates',
    'listCertificates',
    [],
    { state: 'active', deviceId: 'press-07' },
    undefined,
    200,
    'listCertificates',
    { ...page, state: 'active', deviceId: 'press-07' },
  ],
  ['shows a certificate', 'showCertificate', ['01AB:cd'], {}, undefined, 200, 'showCertificate', '01AB:cd'],
  ['shows a group', 'showGroup', ['default'], {}, undefined, 200, 'showGroup', 'default'],
  ['adds a group', 'addGroup', [], {}, { name: 'new' }, 201, 'addGroup', { name: 'new', change: {}, actor }],
  [
    'changes a group',
    'setGroup',
    ['default'],
    {},
    { lifetimeSeconds: 3600, owner: null },
    200,
    'setGroup',
    { name: 'default', change: { lifetimeSeconds: 3600, owner: null }, actor },
  ],
  ['lists tickets', 'listTickets', [], { limit: 1000 }, undefined, 200, 'listTickets', { limit: 1000 }],
  [
    'replaces the hardware of a device',
    'replaceHardware',
    ['press-07'],
    {},
    {},
    201,
    'replaceHardware',
    { deviceId: 'press-07', actor, requestedAt: expect.any(Number) },
  ],
  [
    'replaces the hardware of a device by one with another serial number',
    'replaceHardware',
    ['press-07'],
    {},
    { hardwareSerial: 'SN-0008' },
    201,
    'replaceHardware',
    { deviceId: 'press-07', hardwareSerial: 'SN-0008', actor, requestedAt: expect.any(Number) },
  ],
  [
    'pins a maker of TPMs',
    'addTpmRoot',
    [],
    {},
    { certificate: 'MAA=', note: 'line 3' },
    201,
    'addTpmRoot',
    { der: Buffer.of(0x30, 0), note: 'line 3', actor },
  ],
  ['lists makers of TPMs', 'listTpmRoots', [], { limit: 5 }, undefined, 200, 'listTpmRoots', { limit: 5 }],
  [
    'removes a maker of TPMs',
    'removeTpmRoot',
    ['AB'.repeat(32)],
    {},
    {},
    200,
    'removeTpmRoot',
    { sha256: 'ab'.repeat(32), actor },
  ],
  [
    'allows endorsement keys',
    'allowEks',
    [],
    {},
    { entries: [{ ekSha256: 'AB'.repeat(32), deviceId: 'press-07', note: 'box 7' }] },
    200,
    'allowEks',
    { entries: [{ ekSha256: 'ab'.repeat(32), deviceId: 'press-07', note: 'box 7' }], actor },
  ],
  ['lists allowed endorsement keys', 'listAllowedEks', [], {}, undefined, 200, 'listAllowedEks', { limit: 100 }],
  [
    'takes an endorsement key off the list',
    'removeAllowedEk',
    ['ab'.repeat(32)],
    {},
    {},
    200,
    'removeAllowedEk',
    { ekSha256: 'ab'.repeat(32), actor },
  ],
  ['revokes a ticket', 'revokeTicket', ['t-1'], {}, {}, 200, 'revokeTicket', { id: 't-1', actor }],
  [
    'lists the audit',
    'listAudit',
    [],
    { subject: 's', since: 5 },
    undefined,
    200,
    'listAudit',
    { ...page, subject: 's', since: 5 },
  ],
  ['describes the CA', 'describeCa', [], {}, undefined, 200, 'describeCa', undefined],
])('%s', async (_, route, params, query, body, status, operation, input) => {
  const answer = await gateway.send(OPERATOR_ROUTES[route].method, operatorPath(route, params, query), body);
  expect(answer.status).toBe(status);
  expect(gateway.calls).toEqual([{ name: operation, input }]);
  expect(answer.headers['cache-control']).toBe('no-store');
});

test('revokes by any spelling of the reason, with the moment the request arrived', async () => {
  const before = performance.now();
  const answer = await gateway.send('POST', operatorPath('revokeDevice', ['press-07']), { reason: 'key-compromise' });
  expect(answer.json).toEqual({ deviceId: 'press-07', serials: ['01'], sessionsClosed: 1, closedAfterMs: 3.5 });
  const [call] = gateway.calls;
  expect(call).toMatchObject({ name: 'revokeDevice', input: { deviceId: 'press-07', reason: 'keyCompromise', actor } });
  const { requestedAt } = (call ?? { input: undefined }).input as { requestedAt: number };
  expect(requestedAt).toBeGreaterThanOrEqual(before);
  expect(requestedAt).toBeLessThanOrEqual(performance.now());
});

test('retires with cessationOfOperation when no reason is given', async () => {
  await gateway.send('POST', operatorPath('retireDevice', ['press-07']));
  expect(gateway.calls).toMatchObject([{ name: 'retireDevice', input: { reason: 'cessationOfOperation' } }]);
});

test('gives groups as one page and health as checks', async () => {
  expect((await gateway.send('GET', operatorPath('listGroups'))).json).toEqual({
    items: [{ name: 'default' }],
    nextCursor: null,
  });
  expect((await gateway.send('GET', operatorPath('checkHealth'))).json).toEqual({
    checks: [{ name: 'store', ok: true, detail: 'writes' }],
  });
});

test.each<[string, string, string, unknown, string]>([
  ['a device id with a slash', 'POST', '/v1/devices', { deviceId: 'a/b' }, 'body.deviceId: a device id is'],
  ['no device id', 'POST', '/v1/devices', {}, 'body.deviceId'],
  ['an unknown field', 'POST', '/v1/devices', { deviceId: 'a', grup: 'x' }, 'grup'],
  ['a line break in the owner', 'POST', '/v1/devices', { deviceId: 'a', owner: 'x\ny' }, 'body.owner'],
  ['an unknown query', 'GET', '/v1/devices?grup=x', undefined, 'grup'],
  ['a limit of 0', 'GET', '/v1/devices?limit=0', undefined, 'query.limit'],
  ['a limit that is no number', 'GET', '/v1/devices?limit=x', undefined, 'query.limit'],
  ['a reason that is none', 'POST', '/v1/devices/a/revoke', { reason: 'boredom' }, 'body.reason'],
  [
    'a hold, which cannot be taken back here',
    'POST',
    '/v1/devices/a/revoke',
    { reason: 'certificateHold' },
    'body.reason',
  ],
  ['a revocation without a reason', 'POST', '/v1/devices/a/revoke', {}, 'body.reason'],
  ['an empty list of keys', 'PATCH', '/v1/groups/default', { keys: [] }, 'body.keys'],
  ['a policy that is no object', 'PATCH', '/v1/groups/default', [], 'body'],
  ['a body that is not JSON', 'POST', '/v1/devices', '{"deviceId":', 'the body is not JSON'],
])('refuses %s with 400 and says where', async (_, method, path, body, words) => {
  const { status, headers, json } = await gateway.send(method, path, body);
  expect(status).toBe(400);
  expect(headers['content-type']).toBe('application/problem+json');
  expect(json).toMatchObject({ type: 'about:blank', title: 'Bad Request', status: 400, code: 'REQUEST_INVALID' });
  expect((json as { detail: string }).detail).toContain(words);
  expect(gateway.calls).toEqual([]);
});

test.each<[GatewayError, number]>([
  [conflict, 409],
  [new GatewayError('NOT_FOUND', 'no device "x"'), 404],
  [new GatewayError('ALREADY_EXISTS', 'it is there'), 409],
  [new GatewayError('AUTHORITY_UNAVAILABLE', 'no answer', { retryAfter: 3 }), 503],
])('answers %s of an operation with %i', async (error, status) => {
  gateway.failWith.error = error;
  const answer = await gateway.send('GET', device);
  expect(answer.status).toBe(status);
  expect(answer.json).toMatchObject({ code: error.code, detail: error.message });
  expect(answer.headers['retry-after']).toBe(error.retryAfter?.toString());
});

test('tells nothing of an unexpected error outside and everything in the log', async () => {
  gateway.failWith.error = new Error('SQLITE_FULL: /data is full');
  const answer = await gateway.send('GET', device);
  expect(answer.status).toBe(500);
  expect(JSON.stringify(answer.json)).not.toContain('SQLITE');
  expect(gateway.log).toContainEqual(expect.objectContaining({ level: 'error', message: 'operator request failed' }));
});

test.each<[string, string, unknown, Record<string, string>, number]>([
  ['GET', '/v1/nothing', undefined, {}, 404],
  ['DELETE', '/v1/devices', undefined, {}, 404],
  ['POST', `/v1/renewals/${'a'.repeat(300)}/pause`, undefined, {}, 404],
  ['GET', '/%zz', undefined, {}, 400],
  ['POST', '/v1/devices', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
  ['POST', '/v1/devices', `"${'x'.repeat(70_000)}"`, {}, 413],
])('answers %s %s with a problem', async (method, path, body, headers, status) => {
  const answer = await gateway.send(method, path, body, headers);
  expect(answer.status).toBe(status);
  expect(answer.headers['content-type']).toBe('application/problem+json');
});

test('never answers 500 to any JSON', async () => {
  const routes = Object.values(OPERATOR_ROUTES).filter(({ method }) => method !== 'GET');
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...routes),
      fc.jsonValue(),
      fc.string({ minLength: 1 }),
      async (route, body, word) => {
        const path = route.path.replace(/:[A-Za-z]+/, encodeURIComponent(word));
        const { status } = await gateway.send(route.method, path, JSON.stringify(body));
        expect(status).toBeLessThan(500);
      },
    ),
    { numRuns: 200 },
  );
});

test('describes every call in OpenAPI 3.1, with references that lead somewhere', async () => {
  const { json } = await gateway.send('GET', '/openapi.json');
  const document = json as {
    openapi: string;
    info: { version: string };
    paths: Record<string, Record<string, { operationId: string }>>;
    components: { schemas: Record<string, unknown> };
  };
  expect(document.openapi).toBe('3.1.0');
  expect(document.info.version).toBe('1.2.3');
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId }]) => [operationId, method.toUpperCase(), path]),
  );
  const wanted = Object.entries(OPERATOR_ROUTES).map(([name, { method, path }]) => [
    name,
    method,
    path.replace(/:(\w+)/g, '{$1}'),
  ]);
  expect(new Set(described.map(String))).toEqual(new Set(wanted.map(String)));
  const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(
    ([, name]) => name ?? '',
  );
  expect(references.length).toBeGreaterThan(wanted.length);
  for (const name of references) expect(document.components.schemas).toHaveProperty(name);
});

test('shows the MQTT contract that it was given', async () => {
  expect((await gateway.send('GET', OPERATOR_DOCUMENTS.mqtt)).json).toEqual(MQTT_CONTRACT);
});

test('over HTTPS refuses every call before it is looked at, and shows the page and the document', async () => {
  const authority = await createTestAuthority();
  const server = await authority.issueServer();
  const door: OperatorDoor = await startOperatorDoor(gateway.deps, {
    host: '127.0.0.1',
    port: 0,
    tls: tlsOf(authority, server),
    keepOrder: handleOneAtATime,
  });
  try {
    const send = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
      const options = { host: '127.0.0.1', port: door.address.port, method, path, ca: authority.root.pem };
      return sendJson(options, body, headers, httpsRequest);
    };
    for (const { method, path } of [
      ...Object.values(OPERATOR_ROUTES),
      { method: 'POST', path: '/' },
      { method: 'GET', path: '/v2/x' },
    ]) {
      const answer = await send(method, path.replace(/:\w+/, 'x'), method === 'GET' ? undefined : 'not JSON', {
        authorization: 'Bearer guess',
      });
      expect(answer.status).toBe(401);
      expect(answer.json).toMatchObject({ code: 'OPERATOR_NOT_AUTHENTICATED' });
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="gatehouse"');
    }
    expect(gateway.calls).toEqual([]);
    const home = await send('GET', '/');
    expect(home.status).toBe(200);
    expect(home.json).toContain('gatehouse doctor');
    for (const path of Object.values(OPERATOR_DOCUMENTS)) expect((await send('GET', path)).status).toBe(200);
  } finally {
    await door.close();
  }
});
