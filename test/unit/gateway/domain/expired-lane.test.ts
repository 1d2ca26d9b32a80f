import { describe, expect, it } from 'vitest';
import { judgeExpired, judgeLane, type LaneFacts } from '#gateway/domain/expired-lane.ts';

const DAY = 24 * 3600_000;
const NOW = Date.parse('2027-03-01T00:00:00Z');
const GRACE = { graceSeconds: 10 * 86_400 };

const expired = {
  serial: 'aa' as never,
  state: 'expired' as const,
  notBefore: NOW - 9 * DAY,
  notAfter: NOW - 2 * DAY,
  issuedAt: NOW - 9 * DAY,
  activatedAt: NOW - 9 * DAY,
  supersedeAt: null,
};
const newer = { ...expired, serial: 'bb' as never, issuedAt: NOW - 5 * DAY, activatedAt: NOW - 5 * DAY };

describe('a certificate that has expired', () => {
  it('comes by the lane within the grace of its group, swept or not yet', () => {
    expect(judgeExpired(expired, [expired], GRACE, NOW)).toBeUndefined();
    expect(judgeExpired({ ...expired, state: 'active' }, [expired], GRACE, NOW)).toBeUndefined();
  });

  it.each([
    ['after the grace', expired, [expired], { graceSeconds: 2 * 86_400 }, 'CERTIFICATE_EXPIRED'],
    ['in a group without grace', expired, [expired], { graceSeconds: 0 }, 'CERTIFICATE_EXPIRED'],
    ['never used', { ...expired, activatedAt: null }, [expired], GRACE, 'CERTIFICATE_EXPIRED'],
    ['revoked', { ...expired, state: 'revoked' as const }, [expired], GRACE, 'CERTIFICATE_REVOKED'],
    ['superseded', { ...expired, state: 'superseded' as const }, [expired], GRACE, 'CERTIFICATE_SUPERSEDED'],
    ['with an end set by a successor', { ...expired, supersedeAt: NOW }, [expired], GRACE, 'CERTIFICATE_SUPERSEDED'],
    ['followed by one that was used', expired, [expired, newer], GRACE, 'CERTIFICATE_SUPERSEDED'],
    ['of the future', { ...expired, notBefore: NOW + 1 }, [expired], GRACE, 'CERTIFICATE_NOT_YET_VALID'],
  ])('does not: %s', (_, certificate, held, policy, refusal) => {
    expect(judgeExpired(certificate, held, policy, NOW)).toBe(refusal);
  });

  it('comes also when a successor was issued and never used', () => {
    expect(judgeExpired(expired, [expired, { ...newer, activatedAt: null }], GRACE, NOW)).toBeUndefined();
  });
});

describe('of two renewals of one certificate', () => {
  const overtaken = { ...newer, supersedeAt: NOW - 4 * DAY };

  it('the one in force comes by the lane, also when the other was issued later and shown once', () => {
    expect(judgeExpired(expired, [expired, overtaken], GRACE, NOW)).toBeUndefined();
    const swept = { ...overtaken, state: 'superseded' as const };
    expect(judgeExpired(expired, [expired, swept], GRACE, NOW)).toBeUndefined();
  });

  it('the overtaken one does not', () => {
    expect(judgeExpired(overtaken, [expired, overtaken], GRACE, NOW)).toBe('CERTIFICATE_SUPERSEDED');
  });
});

describe('what happens in the lane', () => {
  const sessions: NonNullable<LaneFacts['sessions']> = {
    deviceId: 'pump-1' as never,
    current: null,
    last: { serial: 'aa', address: '10.1.2.3', since: 0, endedAt: 0, endReason: '' },
  };
  const facts: LaneFacts = { expiredFor: DAY, address: '10.1.2.3', sessions, proofLevel: 'software' };
  const judge = (change: Partial<LaneFacts>, graceDecision: 'auto' | 'approval' | 'refuse' = 'auto') =>
    judgeLane({ ...GRACE, graceDecision }, { ...facts, ...change });

  it('is automatic when it expired not long ago and comes from where it was', () => {
    expect(judge({})).toMatchObject({ outcome: 'automatic', score: 29 });
    expect(judge({}).detail).toContain('known network, proof software');
  });

  it.each([
    ['from another network', { address: '192.0.2.1' }],
    ['at the end of the grace', { expiredFor: 9 * DAY }],
  ])('is for a person to decide: %s', (_, change) => {
    expect(judge(change).outcome).toBe('approval');
  });

  it('is automatic for a key proved to live in a TPM, also from another network', () => {
    expect(judge({ address: '192.0.2.1', proofLevel: 'tpm-endorsed' }).outcome).toBe('automatic');
  });

  it('is refused when there is nothing to believe it by, whatever the group says', () => {
    expect(judge({ address: '192.0.2.1', expiredFor: 9.9 * DAY }).outcome).toBe('refused');
  });

  it('is never more than the group says', () => {
    expect(judge({}, 'approval').outcome).toBe('approval');
    expect(judge({ proofLevel: 'tpm-endorsed' }, 'refuse').outcome).toBe('refused');
  });

  it('doubts more where no session is known', () => {
    expect(judge({ sessions: undefined }).score).toBeGreaterThan(judge({}).score);
  });
});
