import { afterAll, beforeAll, expect, it } from 'vitest';
import { ATTEMPT_HEADER } from '#gateway/contract/est.ts';
import { AttemptBudget } from '#gateway/domain/attempt-budget.ts';
import { AuditBudget } from '#gateway/domain/audit-budget.ts';
import { listAttempts, showAttempt } from '#gateway/operations/show-attempts.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import { type AttestationDoor, basicOf, openAttestationDoor } from '#test/fixtures/gateway/attestation-door.ts';
import { openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let door: AttestationDoor;
let ticket: string;
beforeAll(async () => {
  world = await openWorld();
  world.attemptRows = new AttemptBudget(new AuditBudget({ burst: 8, perSecond: 0, maxKeys: 10 }));
  ticket = await register(world, 'press-07');
  door = await openAttestationDoor(world, { requestsPerDevice: 4, deviceRequestForgottenAfter: 600_000 });
});
afterAll(async () => {
  await door.close();
  await world.close();
});

const ENROLL = '/.well-known/est/simpleenroll';
const CSR = { 'content-type': 'application/pkcs10' };

type Refused = {
  path?: string;
  headers?: Record<string, string>;
  body?: string;
  is: { status: number; code: string; deviceId: string | null };
  shows?: () => string;
};

const own = () => basicOf({ deviceId: 'press-07', ticket });

const REFUSED: Record<string, Refused> = {
  'a body that is no CSR': {
    body: '!!',
    shows: own,
    is: { status: 400, code: 'BODY_NOT_BASE64', deviceId: 'press-07' },
  },
  'a label that is no group': {
    path: '/.well-known/est/line-9/simpleenroll',
    shows: own,
    is: { status: 404, code: 'LABEL_UNKNOWN', deviceId: 'press-07' },
  },
  'another kind of body': {
    headers: { 'content-type': 'text/plain' },
    shows: own,
    is: { status: 415, code: 'CONTENT_TYPE_UNSUPPORTED', deviceId: 'press-07' },
  },
  'no credentials': { is: { status: 401, code: 'CREDENTIALS_MISSING', deviceId: null } },
  'a ticket that is none': {
    body: '!!',
    shows: () => basicOf({ deviceId: 'press-07', ticket: 'guessed' }),
    is: { status: 400, code: 'BODY_NOT_BASE64', deviceId: null },
  },
  'one request too many': {
    body: '!!',
    shows: own,
    is: { status: 400, code: 'BODY_NOT_BASE64', deviceId: 'press-07' },
  },
  'and that is told': { body: '!!', shows: own, is: { status: 429, code: 'RATE_LIMITED', deviceId: 'press-07' } },
};

it.each(Object.entries(REFUSED))('an attempt that the door refuses is on record: %s', async (_, refused) => {
  const { path = ENROLL, headers = CSR, body = 'MIIB', shows, is } = refused;
  const id = nodeRandomness.id('a');
  const line = door.connect(shows === undefined ? {} : { basic: shows() });
  const answer = await line.ask(path, { headers: { ...headers, [ATTEMPT_HEADER]: id }, body });
  expect(answer.status).toBe(is.status);
  expect(answer.body).toContain(`(attempt ${id})`);
  const shown = await showAttempt(world, id);
  expect(shown).toMatchObject({
    id,
    kind: 'enroll',
    door: 'est',
    outcome: 'refused',
    code: is.code,
    deviceId: is.deviceId,
  });
  expect(shown.steps).toMatchObject([{ step: 'request', outcome: 'refused', detail: shown.detail }]);
  expect(answer.body).toContain(shown.nextAction);
  expect(JSON.stringify(shown)).not.toContain(ticket);
});

it('does not fill the disk with what strangers send', async () => {
  const before = (await listAttempts(world, { limit: 50 })).items.length;
  const line = door.connect({});
  for (let asked = 0; asked < 20; asked += 1) await line.ask(ENROLL, { headers: CSR, body: 'MIIB' });
  expect((await listAttempts(world, { limit: 50 })).items.length - before).toBeLessThanOrEqual(1);
});
