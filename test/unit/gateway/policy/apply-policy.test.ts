import { beforeEach, expect, it } from 'vitest';
import { DEFAULT_POLICY } from '#gateway/domain/group.ts';
import type { PolicyFacts } from '#gateway/domain/policy/judge-policy.ts';
import { applyPolicy, type PolicyRequest } from '#gateway/operations/apply-policy.ts';
import type { PolicyQuestion, PolicyVerdict } from '#gateway/ports/policy-webhook.ts';
import { createMemoryLog } from '#test/fixtures/doors/memory-log.ts';

const FACTS: PolicyFacts = {
  kind: 'enroll',
  deviceId: 'pump-17',
  owner: null,
  keyKind: 'ec-p256',
  proofLevel: 'software',
  address: '10.1.2.3',
  at: 0,
  binding: 'none',
  isRegistered: true,
  isEnrolledWithOtherKey: false,
  devicesEnrolled: 0,
  enrolledLastHour: 0,
};
const QUESTION: PolicyQuestion = {
  version: 1,
  attemptId: 'a-1',
  kind: 'enroll',
  deviceId: 'pump-17',
  group: 'pumps',
  owner: null,
  hardwareSerial: null,
  grounds: 'ticket:t-1',
  address: '10.1.2.3',
  keyKind: 'ec-p256',
  spkiSha256: '0'.repeat(64),
  proofLevel: 'software',
};

let asked: string[] = [];
beforeEach(() => {
  asked = [];
});

/** The other system is not the matter here: what is done with its word is. */
function apply(
  answer: PolicyVerdict | Error,
  policy: Partial<PolicyRequest['policy']> = {},
  facts: Partial<PolicyFacts> = {},
) {
  const webhook = {
    ask: async (url: string) => {
      asked.push(url);
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  const request = { policy: { ...DEFAULT_POLICY, ...policy }, facts: { ...FACTS, ...facts }, question: QUESTION };
  return applyPolicy({ webhook, log: createMemoryLog() }, request);
}

const HOOK = { webhook: 'https://policy.example/' };
const ALLOW: PolicyVerdict = { decision: 'allow', reason: null };

it('asks no webhook where the group has none', async () => {
  expect(await apply(new Error('not to be asked'))).toBe('approved');
  expect(asked).toEqual([]);
});

it('does not ask about what the group refuses by itself', async () => {
  await expect(apply(ALLOW, { ...HOOK, keys: ['rsa-2048'] })).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
  expect(asked).toEqual([]);
});

it('grants nothing when there is no answer', async () => {
  await expect(apply(new Error('timeout'), HOOK)).rejects.toMatchObject({
    code: 'POLICY_WEBHOOK_UNAVAILABLE',
    retryAfter: 60,
  });
});

it('says why the other system refuses', async () => {
  const refused = apply({ decision: 'deny', reason: 'stolen' }, HOOK);
  await expect(refused).rejects.toMatchObject({
    code: 'POLICY_WEBHOOK_REFUSED',
    message: expect.stringContaining('stolen'),
  });
});

it('lets a newcomer wait when the other system wants a person to decide, and a renewal pass', async () => {
  const ask: PolicyVerdict = { decision: 'ask a person', reason: 'new site' };
  expect(await apply(ask, HOOK)).toEqual({ waits: 'new site' });
  expect(await apply(ask, HOOK, { kind: 'reenroll' })).toBe('approved');
});

it('lets a person decide also after the other system has agreed', async () => {
  expect(await apply(ALLOW, { ...HOOK, approval: 'manual' })).toEqual({ waits: 'a person decides' });
});

it('gives the time after which asking again makes sense', async () => {
  await expect(apply(ALLOW, { maxPerHour: 0 })).rejects.toMatchObject({ code: 'RATE_LIMITED', retryAfter: 600 });
});
