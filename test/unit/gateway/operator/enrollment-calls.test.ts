import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { OPERATOR_ROUTES, type OperatorRoute, operatorPath } from '#gateway/contract/operator-paths.ts';
import { type OperatorGateway, openOperatorGateway } from '#test/fixtures/doors/operator-gateway.ts';

let gateway: OperatorGateway;
beforeAll(async () => {
  gateway = await openOperatorGateway();
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.calls.length = 0;
  delete gateway.failWith.error;
});

const actor = 'local:tester';
const page = { limit: 100 };
const fingerprint = 'ab'.repeat(32);
const csr = Buffer.of(0x30, 0, 1);
const sent = csr.toString('base64');

function longEntry(index: number) {
  return {
    deviceId: `d${index}`.padEnd(63, 'x'),
    group: 'g'.repeat(63),
    hardwareSerial: 'S'.repeat(64),
    owner: '\u4E2D'.repeat(200),
    ekSha256: fingerprint,
  };
}

describe('an operator, about enrollments,', () => {
  test.each<[string, OperatorRoute, string[], Record<string, string | number>, unknown, number, string, unknown]>([
    [
      'lists who waits',
      'listEnrollmentRequests',
      [],
      { state: 'waiting', group: 'g', limit: 5, after: 'a' },
      undefined,
      200,
      'listEnrollmentRequests',
      { limit: 5, after: 'a', state: 'waiting', group: 'g' },
    ],
    ['lists all requests', 'listEnrollmentRequests', [], {}, undefined, 200, 'listEnrollmentRequests', page],
    ['shows a request', 'showEnrollmentRequest', ['a-1'], {}, undefined, 200, 'showEnrollmentRequest', 'a-1'],
    ['approves', 'approveEnrollment', ['a-1'], {}, undefined, 200, 'approveEnrollment', { id: 'a-1', actor }],
    [
      'approves with a note',
      'approveEnrollment',
      ['a-1'],
      {},
      { note: 'compared' },
      200,
      'approveEnrollment',
      { id: 'a-1', note: 'compared', actor },
    ],
    [
      'refuses',
      'refuseEnrollment',
      ['a-1'],
      {},
      { reason: 'not ours' },
      200,
      'refuseEnrollment',
      { id: 'a-1', reason: 'not ours', actor },
    ],
    [
      'lists attempts',
      'listAttempts',
      [],
      { deviceId: 'press-07', outcome: 'refused' },
      undefined,
      200,
      'listAttempts',
      { ...page, deviceId: 'press-07', outcome: 'refused' },
    ],
    ['shows an attempt', 'showAttempt', ['a-1'], {}, undefined, 200, 'showAttempt', 'a-1'],
    [
      'makes a claim of an hour when no time is given',
      'claimTicket',
      ['press-07'],
      {},
      { csr: sent },
      201,
      'claimTicket',
      { deviceId: 'press-07', csr, seconds: 3600, actor },
    ],
    [
      'trusts a maker',
      'addManufacturerCa',
      ['line-3'],
      {},
      { certificate: sent, note: 'pumps' },
      201,
      'addManufacturerCa',
      { group: 'line-3', der: csr, note: 'pumps', actor },
    ],
    [
      'trusts a maker no longer',
      'removeManufacturerCa',
      ['line-3', fingerprint.toUpperCase()],
      {},
      {},
      200,
      'removeManufacturerCa',
      { group: 'line-3', sha256: fingerprint, actor },
    ],
    [
      'lists the makers of a group',
      'listManufacturerCas',
      [],
      { group: 'line-3', limit: 5 },
      undefined,
      200,
      'listManufacturerCas',
      { group: 'line-3' },
    ],
    [
      'adds a registrar',
      'addRegistrar',
      [],
      {},
      { name: 'robot', groups: ['line-3', 'line-4'], csr: sent, lifetimeSeconds: 86_400 },
      201,
      'addRegistrar',
      { name: 'robot', groups: ['line-3', 'line-4'], csr, lifetimeSeconds: 86_400, actor },
    ],
    ['lists registrars', 'listRegistrars', [], {}, undefined, 200, 'listRegistrars', undefined],
    ['removes a registrar', 'removeRegistrar', ['robot'], {}, {}, 200, 'removeRegistrar', { name: 'robot', actor }],
    [
      'tests a group',
      'testGroup',
      ['line-3'],
      {},
      { deviceId: 'press-07', keyKind: 'ec-p384', proofLevel: 'tpm', address: '::1', at: 5, grounds: 'claim' },
      200,
      'testGroup',
      {
        name: 'line-3',
        deviceId: 'press-07',
        keyKind: 'ec-p384',
        proofLevel: 'tpm',
        address: '::1',
        at: 5,
        grounds: 'claim',
      },
    ],
    ['tests a group with nothing given', 'testGroup', ['line-3'], {}, undefined, 200, 'testGroup', { name: 'line-3' }],
    [
      'changes every rule of a group',
      'setGroup',
      ['line-3'],
      {},
      {
        approval: 'manual',
        binding: 'required',
        networks: ['10.0.0.0/8'],
        hours: ['Mon-Fri 08:00-18:00'],
        maxDevices: 5,
        maxPerHour: null,
        deviceIdPattern: 'pump-*',
        requireOwner: true,
        webhook: null,
        serverKeygen: false,
      },
      200,
      'setGroup',
      {
        name: 'line-3',
        change: {
          approval: 'manual',
          binding: 'required',
          networks: ['10.0.0.0/8'],
          hours: ['Mon-Fri 08:00-18:00'],
          maxDevices: 5,
          maxPerHour: null,
          deviceIdPattern: 'pump-*',
          requireOwner: true,
          webhook: null,
          serverKeygen: false,
        },
        actor,
      },
    ],
  ])('%s', async (_, route, params, query, body, status, operation, input) => {
    const answer = await gateway.send(OPERATOR_ROUTES[route].method, operatorPath(route, params, query), body);
    expect(answer.json).not.toHaveProperty('code', 'REQUEST_INVALID');
    expect(answer.status).toBe(status);
    expect(gateway.calls).toEqual([{ name: operation, input }]);
  });

  test.each<[string, OperatorRoute, string[], unknown, string]>([
    ['a refusal without a reason', 'refuseEnrollment', ['a-1'], {}, 'body.reason'],
    ['a note of two lines', 'approveEnrollment', ['a-1'], { note: 'a\nb' }, 'body.note'],
    ['a claim of more than an hour', 'claimTicket', ['press-07'], { csr: sent, seconds: 3601 }, 'body.seconds'],
    ['a claim without a request', 'claimTicket', ['press-07'], {}, 'body.csr'],
    ['a request that is not base64', 'claimTicket', ['press-07'], { csr: '-----BEGIN' }, 'body.csr'],
    ['an empty certificate', 'addManufacturerCa', ['g'], { certificate: '' }, 'body.certificate'],
    ['a registrar of no group', 'addRegistrar', [], { name: 'r', groups: [], csr: sent }, 'body.groups'],
    ['a registrar with a path for a name', 'addRegistrar', [], { name: '../r', groups: ['g'], csr: sent }, 'body.name'],
    ['an import of nothing', 'importDevices', [], { entries: [] }, 'body.entries'],
    [
      'an import with a wrong hardware serial, naming the entry',
      'importDevices',
      [],
      { entries: [{ deviceId: 'a' }, { deviceId: 'b', hardwareSerial: 'ö' }] },
      'body.entries.1.hardwareSerial',
    ],
    ['a test from no address', 'testGroup', ['g'], { address: 'localhost' }, 'body.address'],
    ['a limit of no devices', 'setGroup', ['g'], { maxDevices: 0 }, 'body.maxDevices'],
    ['an approval rule that is none', 'setGroup', ['g'], { approval: 'always' }, 'body.approval'],
  ])('is refused %s', async (_, route, params, body, words) => {
    const { status, json } = await gateway.send(OPERATOR_ROUTES[route].method, operatorPath(route, params), body);
    expect([status, json]).toEqual([400, expect.objectContaining({ code: 'REQUEST_INVALID' })]);
    expect((json as { detail: string }).detail).toContain(words);
    expect(gateway.calls).toEqual([]);
  });

  test('imports a thousand devices with the longest of everything in one call, and not one more', async () => {
    const entries = Array.from({ length: 1000 }, (_, index) => longEntry(index));
    const path = operatorPath('importDevices');
    expect((await gateway.send('POST', path, { entries })).status).toBe(200);
    expect(gateway.calls).toEqual([{ name: 'importDevices', input: { entries, actor } }]);
    const more = await gateway.send('POST', path, { entries: [...entries, { deviceId: 'one-more' }] });
    expect(more.status).toBe(400);
    const tooLong = await gateway.send('POST', path, `"${'x'.repeat(2 * 1024 * 1024)}"`);
    expect(tooLong.status).toBe(413);
  });

  test('gets makers and registrars as one page', async () => {
    for (const [route, items] of [
      ['listManufacturerCas', [{ sha256: '00' }]],
      ['listRegistrars', [{ name: 'robot' }]],
    ] as const) {
      expect((await gateway.send('GET', operatorPath(route))).json).toEqual({ items, nextCursor: null });
    }
  });
});
