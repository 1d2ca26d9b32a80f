import { assert, double, nat, property } from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { fullJitter, reconnectDelay, renewalRetryDelay, spreadRetryAfter } from '#device-agent/domain/backoff.ts';
import { planGenerations } from '#device-agent/domain/generation-plan.ts';
import {
  localRenewalMoment,
  momentInWindow,
  plannedRenewal,
  spreadOf,
  usableValidity,
} from '#device-agent/domain/renewal-schedule.ts';
import { bestTime, isClockBelievable, parseTimeFloor } from '#device-agent/domain/time-floor.ts';
import { isPlainTopic, isTopicFilter, matchesFilter } from '#device-agent/domain/topic-filter.ts';
import { parseRetryAfter } from '#device-agent/est/retry-after.ts';

const DAY = 24 * 3600_000;

const afterRefusedCandidate = (failures: number) =>
  renewalRetryDelay({
    failures,
    fraction: 0.999,
    retryAfterMs: undefined,
    candidateRefused: true,
    lifetimeMs: 365 * DAY,
  });

describe('the local renewal rule', () => {
  test('starts at two thirds of a long life', () => {
    expect(localRenewalMoment({ notBefore: 0, notAfter: 90 * DAY }, 0)).toBe(60 * DAY);
  });
  test('starts at half of a life under ten days', () => {
    expect(localRenewalMoment({ notBefore: 0, notAfter: 8 * DAY }, 0)).toBe(4 * DAY);
  });
  test('moves the moment by two percent of the life at most, each way', () => {
    expect(localRenewalMoment({ notBefore: 0, notAfter: 100 * DAY }, 1)).toBeCloseTo(68.67 * DAY, -7);
    expect(localRenewalMoment({ notBefore: 0, notAfter: 100 * DAY }, -1)).toBeCloseTo(64.67 * DAY, -7);
  });
  test('gives the same certificate the same spread, and spreads a fleet', () => {
    expect(spreadOf('00000000ff')).toBe(-1);
    expect(spreadOf('ffffffff00')).toBe(1);
    expect(Math.abs(spreadOf('80000000'))).toBeLessThan(0.01);
  });
  test('counts the life from the arrival, since issuers set notBefore back', () => {
    expect(usableValidity({ notBefore: 0, notAfter: 360 }, 300)).toEqual({ notBefore: 300, notAfter: 360 });
  });
  test.each([undefined, -1, 0, 360, 999])('does not believe an arrival at %s outside the validity', (receivedAt) => {
    expect(usableValidity({ notBefore: 0, notAfter: 360 }, receivedAt)).toEqual({ notBefore: 0, notAfter: 360 });
  });
  test('takes the earlier of rule and order, and no order for another certificate', () => {
    const certificate = { serial: 'aa', sha256: '7fffffff', notBefore: 0, notAfter: 2000 };
    const rule = plannedRenewal({ certificate, meta: {} }, undefined);
    expect(plannedRenewal({ certificate, meta: {} }, { serial: 'aa', at: 5 })).toBe(5);
    expect(plannedRenewal({ certificate, meta: {} }, { serial: 'aa', at: 99_999 })).toBe(rule);
    expect(plannedRenewal({ certificate, meta: {} }, { serial: 'bb', at: 5 })).toBe(rule);
  });
});

describe('a suggested window (RFC 9773 4.2)', () => {
  test('gives a moment inside it', () => {
    expect(momentInWindow({ start: 1000, end: 2000 }, 500, 0.25)).toBe(1250);
  });
  test('means at once when the drawn moment has passed', () => {
    expect(momentInWindow({ start: 1000, end: 2000 }, 1500, 0.25)).toBe(1500);
    expect(momentInWindow({ start: 1000, end: 2000 }, 9000, 0.99)).toBe(9000);
  });
  test('is one moment when it does not end after it starts', () => {
    expect(momentInWindow({ start: 2000, end: 1000 }, 0, 0.9)).toBe(2000);
  });
});

describe('backing off', () => {
  test('is a draw below a bound that doubles up to the cap, for ever', () => {
    assert(
      property(nat({ max: 5000 }), double({ min: 0, max: 0.999, noNaN: true }), (failures, fraction) => {
        const delay = reconnectDelay(failures, fraction);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(Math.min(300_000, 1000 * 2 ** failures));
      }),
    );
  });
  test('still spreads a fleet after a long outage: the cap comes before the draw', () => {
    expect(fullJitter(40, { baseMs: 1000, capMs: 300_000 }, 0.1)).toBe(30_000);
    expect(fullJitter(40, { baseMs: 1000, capMs: 300_000 }, 0.9)).toBe(270_000);
  });
  test.each([
    [undefined, 0.9, 0],
    [2_000, 0, 2_000],
    [2_000, 0.5, 2_500],
    [2_000, 0.999, 2_999],
    [3_600_000, 0, 3_600_000],
    [3_600_000, 0.5, 4_050_000],
  ])(
    'after Retry-After %s and a draw of %d takes %i ms: never sooner, and not all at once',
    (asked, fraction, expected) => {
      expect(spreadRetryAfter(asked, fraction)).toBe(expected);
    },
  );
  test('of a renewal fits the lifetime and honours Retry-After', () => {
    const base = { failures: 20, fraction: 0.999, retryAfterMs: undefined, candidateRefused: false };
    expect(renewalRetryDelay({ ...base, lifetimeMs: 365 * DAY })).toBeLessThanOrEqual(3600_000);
    expect(renewalRetryDelay({ ...base, lifetimeMs: 3600_000 })).toBeLessThanOrEqual(72_000);
    expect(renewalRetryDelay({ ...base, lifetimeMs: 3600_000, retryAfterMs: 500_000 })).toBe(624_875);
    expect(renewalRetryDelay({ ...base, fraction: 0, lifetimeMs: 3600_000, retryAfterMs: 500_000 })).toBe(500_000);
    expect(renewalRetryDelay({ ...base, lifetimeMs: -5 })).toBe(500);
  });
  test('of a renewal whose certificate was not let in grows to a quarter of an hour and no further', () => {
    expect(afterRefusedCandidate(0)).toBeLessThanOrEqual(30_000);
    expect(afterRefusedCandidate(1)).toBeGreaterThan(afterRefusedCandidate(0));
    expect(afterRefusedCandidate(20)).toBeGreaterThan(14 * 60_000);
    expect(afterRefusedCandidate(20)).toBeLessThanOrEqual(15 * 60_000);
  });
});

describe('Retry-After (RFC 9110 10.2.3)', () => {
  const date = 'Mon, 02 Mar 2026 10:00:00 GMT';
  test.each([
    ['120', 120_000],
    ['0', 1000],
    ['99999999', DAY],
    ['Mon, 02 Mar 2026 10:00:30 GMT', 30_000],
    ['Mon, 02 Mar 2026 09:00:00 GMT', 1000],
    ['soon', undefined],
    ['-5', undefined],
  ])('reads "%s"', (value, expected) => {
    // The clock here is decades off: an HTTP date counts from the Date of the answer.
    expect(parseRetryAfter(value, date, 0)).toBe(expected);
  });
  test('is absent when absent', () => {
    expect(parseRetryAfter(undefined, date, 0)).toBeUndefined();
  });
  test('may be longer than a day for who has to wait for a person', () => {
    expect(parseRetryAfter('172800', date, 0, 30 * DAY)).toBe(2 * DAY);
    expect(parseRetryAfter('99999999', date, 0, 30 * DAY)).toBe(30 * DAY);
  });

  describe('wherever the device stands', () => {
    afterEach(() => vi.unstubAllEnvs());
    test.each(['Asia/Tokyo', 'America/Los_Angeles', 'UTC'])('is read in each form of a date (%s)', (zone) => {
      vi.stubEnv('TZ', zone);
      expect(new Date(Date.UTC(2026, 2, 2)).getTimezoneOffset() === 0).toBe(zone === 'UTC');
      for (const form of [
        'Mon, 02 Mar 2026 10:00:30 GMT',
        'Monday, 02-Mar-26 10:00:30 GMT',
        'Mon Mar  2 10:00:30 2026',
      ])
        expect([form, parseRetryAfter(form, date, 0)]).toEqual([form, 30_000]);
    });
  });
});

describe('time on a device', () => {
  const floor = Date.UTC(2026, 5, 1);
  test('is the wall clock while that can be right', () => {
    expect(bestTime(floor + 5, floor, 999)).toBe(floor + 5);
    expect(isClockBelievable(floor - 60_000, floor)).toBe(true);
  });
  test('runs on from the floor when the wall clock fell through it', () => {
    expect(isClockBelievable(0, floor)).toBe(false);
    expect(bestTime(0, floor, 7000)).toBe(floor + 7000);
    expect(bestTime(0, floor, 7000.75)).toBe(floor + 7000);
  });
  test.each([undefined, {}, { version: 1, floor: -1 }, { version: 1, floor: 'x' }, { version: 2, floor: 9e15 }])(
    'has a floor even without a readable file: %j',
    (value) => {
      expect(parseTimeFloor(value).floor).toBeGreaterThanOrEqual(Date.UTC(2026, 0, 1));
    },
  );
});

describe('generations', () => {
  test.each([
    ['a fresh folder', [], undefined, { current: undefined, candidate: undefined, previous: undefined, surplus: [] }],
    [
      'an interrupted enrollment',
      [1],
      undefined,
      { current: undefined, candidate: 1, previous: undefined, surplus: [] },
    ],
    ['a quiet life', [1, 2], 2, { current: 2, candidate: undefined, previous: 1, surplus: [] }],
    ['a renewal under way', [1, 2, 3], 2, { current: 2, candidate: 3, previous: 1, surplus: [] }],
    ['leftovers', [1, 2, 3, 4, 5], 3, { current: 3, candidate: 5, previous: 2, surplus: [1, 4] }],
    ['a current that is gone', [2], 1, { current: undefined, candidate: 2, previous: undefined, surplus: [] }],
  ] as const)('of %s are told apart', (_name, numbers, current, plan) => {
    expect(planGenerations([...numbers], current)).toEqual(plan);
  });
});

describe('topic filters (MQTT 3.1.1 4.7)', () => {
  test.each([
    ['a/b', 'a/b', true],
    ['a/+', 'a/b', true],
    ['a/+', 'a', false],
    ['a/+', 'a/b/c', false],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['#', 'a', true],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['+', '', true],
  ])('%s against %s is %s', (filter, topic, expected) => {
    expect(matchesFilter(filter, topic)).toBe(expected);
  });
  test.each(['a/#/b', 'a#', '', 'a/b+', 'a\0'])('"%s" is no filter', (filter) => {
    expect(isTopicFilter(filter)).toBe(false);
  });
  test('a plain topic has no wildcard and no empty level', () => {
    expect(['a', 'a/b c/ä'].every(isPlainTopic)).toBe(true);
    expect(['', 'a//b', '+', 'x/#', 'a\0'].some(isPlainTopic)).toBe(false);
  });
});
