import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { formatCertId, parseSuggestedWindow } from '#gateway/contract/renewal-info.ts';
import { callEst, type EstGateway, openEstGateway } from '#test/fixtures/doors/est-gateway.ts';

const PATH = '/.well-known/est/renewal-info';
const NAME = { issuerKeyId: '69885b6b87464041e1b37b847ba0ae2cde01c8d4', serial: '0087654321' };
const WINDOW = { start: Date.UTC(2026, 5, 1, 3), end: Date.UTC(2026, 5, 1, 3, 1) };

let gateway: EstGateway;
beforeAll(async () => {
  gateway = await openEstGateway();
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.windows.clear();
  gateway.windows.set(`${NAME.issuerKeyId}.${NAME.serial}`, WINDOW);
});

test('gives the window as RFC 9773 has it, without credentials, and says when to ask again', async () => {
  const { status, headers, body } = await callEst(gateway, `${PATH}/${formatCertId(NAME)}`);
  expect(status).toBe(200);
  expect(headers['content-type']).toBe('application/json');
  expect(headers['retry-after']).toBe('3600');
  expect(headers['cache-control']).toBe('public, max-age=300');
  expect(JSON.parse(body)).toEqual({
    suggestedWindow: { start: '2026-06-01T03:00:00.000Z', end: '2026-06-01T03:01:00.000Z' },
  });
  expect(parseSuggestedWindow((JSON.parse(body) as { suggestedWindow: unknown }).suggestedWindow)).toEqual(WINDOW);
});

test.each([
  ['no name of a certificate', 'nonsense', 400],
  ['padding', 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE=', 400],
  ['a certificate of another gateway', 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AYdlQyE', 404],
  ['nothing', '', 400],
])('answers %s with %s: %i', async (_name, certId, expected) => {
  expect((await callEst(gateway, `${PATH}/${certId}`)).status).toBe(expected);
});

test.each([
  ['another method', `${PATH}/${formatCertId(NAME)}`, 'POST', 405],
  ['a longer path', `${PATH}/${formatCertId(NAME)}/more`, 'GET', 404],
  ['a label in front', `/.well-known/est/default/renewal-info/${formatCertId(NAME)}`, 'GET', 404],
  ['an operation behind it as if it were a label', `${PATH}/cacerts`, 'GET', 400],
])('refuses %s', async (_name, path, method, expected) => {
  expect((await callEst(gateway, path, { method })).status).toBe(expected);
});

test('slows down an address that asks without end', async () => {
  const own = await openEstGateway({ renewalInfosPerAddress: 3, renewalInfoForgottenAfter: 60_000 });
  try {
    own.windows.set(`${NAME.issuerKeyId}.${NAME.serial}`, WINDOW);
    const statuses: number[] = [];
    for (let question = 0; question < 5; question += 1)
      statuses.push((await callEst(own, `${PATH}/${formatCertId(NAME)}`)).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect(Number((await callEst(own, `${PATH}/x`)).headers['retry-after'])).toBeGreaterThan(0);
    // Others are served.
    expect((await callEst(own, '/.well-known/est/cacerts')).status).toBe(200);
  } finally {
    await own.close();
  }
});
