import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { OPERATOR_ROUTES, type OperatorRoute, operatorPath } from '#gateway/contract/operator-paths.ts';
import { type OperatorGateway, openOperatorGateway } from '#test/fixtures/doors/operator-gateway.ts';

let gateway: OperatorGateway;
beforeAll(async () => {
  gateway = await openOperatorGateway();
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.calls.length = 0;
});

const actor = 'local:tester';
const line = { scope: 'group', target: 'line-3' };

test.each<[string, OperatorRoute, string[], Record<string, string | number>, unknown, number, unknown]>([
  [
    'revokes a group at a rate',
    'orderRevocation',
    [],
    {},
    { ...line, reason: 'cessation-of-operation', rate: 20 },
    201,
    { ...line, reason: 'cessationOfOperation', rate: 20, actor },
  ],
  [
    'takes the reasons of authorities too: which scope they fit is judged behind',
    'orderRevocation',
    [],
    {},
    { scope: 'issuer', target: 'ab', reason: 'cACompromise' },
    201,
    { scope: 'issuer', target: 'ab', reason: 'cACompromise', actor },
  ],
  ['says what it would do', 'planRevocation', [], {}, line, 200, line],
  ['lists', 'listRevocations', [], { state: 'paused' }, undefined, 200, { limit: 100, state: 'paused' }],
  ['shows one', 'showRevocation', ['r-1'], {}, undefined, 200, 'r-1'],
  [
    'lists its certificates',
    'listRevocationItems',
    ['r-1'],
    { state: 'failed', limit: 5 },
    undefined,
    200,
    { id: 'r-1', limit: 5, state: 'failed' },
  ],
  ['pauses', 'pauseRevocation', ['r-1'], {}, {}, 200, { id: 'r-1', actor }],
  ['resumes at another rate', 'resumeRevocation', ['r-1'], {}, { rate: 5 }, 200, { id: 'r-1', rate: 5, actor }],
  ['cancels', 'cancelRevocation', ['r-1'], {}, undefined, 200, { id: 'r-1', actor }],
  ['releases a device', 'releaseDevice', ['press-07'], {}, {}, 200, { deviceId: 'press-07', actor }],
])('%s', async (_, route, params, query, body, status, input) => {
  const answer = await gateway.send(OPERATOR_ROUTES[route].method, operatorPath(route, params, query), body);
  expect(answer.status).toBe(status);
  expect(gateway.calls).toEqual([{ name: route, input }]);
});

test('holds a device with what it is told, and the moment the request arrived', async () => {
  const before = performance.now();
  await gateway.send('POST', operatorPath('holdDevice', ['press-07']), { reason: 'lent' });
  expect(gateway.calls).toMatchObject([{ name: 'holdDevice', input: { deviceId: 'press-07', why: 'lent', actor } }]);
  const input = gateway.calls[0]?.input as { requestedAt: number } | undefined;
  expect(input?.requestedAt).toBeGreaterThanOrEqual(before);
});

test.each<[string, OperatorRoute, unknown, string]>([
  ['a hold as a reason', 'orderRevocation', { ...line, reason: 'certificateHold' }, 'body.reason'],
  ['a scope that there is not', 'orderRevocation', { scope: 'world', target: 'x', reason: 'superseded' }, 'body.scope'],
  ['no target', 'orderRevocation', { scope: 'group', reason: 'superseded' }, 'body.target'],
  ['a rate of nothing', 'orderRevocation', { ...line, reason: 'superseded', rate: 0 }, 'body.rate'],
  ['a line end in the target', 'planRevocation', { scope: 'group', target: 'a\nb' }, 'body.target'],
])('refuses %s, and asks nobody', async (_, route, body, where) => {
  const answer = await gateway.send('POST', operatorPath(route), body);
  expect(answer).toMatchObject({
    status: 400,
    json: { code: 'REQUEST_INVALID', detail: expect.stringContaining(where) },
  });
  expect(gateway.calls).toEqual([]);
});
