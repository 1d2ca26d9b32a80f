import { describe, expect, test } from 'vitest';
import type { Identity } from '#device-agent/operations/identity.ts';
import {
  chooseTurn,
  clearRecord,
  isHopeless,
  newContender,
  recordFailure,
} from '#device-agent/operations/session-turns.ts';

const contender = (fields: { notBefore?: number; lastTurn?: number } = {}) => ({
  ...newContender({} as Identity),
  ...fields,
});

const failing = (times: number, isRefusal: boolean) => {
  const candidate = contender();
  for (let n = 0; n < times; n += 1) recordFailure(candidate, { isRefusal, now: 0, fraction: 0.5 });
  return candidate;
};

describe('whose turn it is to connect', () => {
  test('is that of the first given, then of the one that has waited longest', () => {
    const [candidate, current] = [contender(), contender()];
    expect(chooseTurn([candidate, current], 100)).toBe(candidate);
    candidate.lastTurn = 1;
    expect(chooseTurn([candidate, current], 100)).toBe(current);
    current.lastTurn = 2;
    expect(chooseTurn([candidate, current], 100)).toBe(candidate);
  });
  test('comes sooner for the one whose back-off ends sooner, and an ended one is no merit', () => {
    expect(chooseTurn([contender({ notBefore: 300 }), contender({ notBefore: 200, lastTurn: 9 })], 100).notBefore).toBe(
      200,
    );
    expect(
      chooseTurn([contender({ notBefore: 10, lastTurn: 2 }), contender({ notBefore: 20, lastTurn: 1 })], 100),
    ).toMatchObject({ lastTurn: 1 });
  });
});

describe('a candidate', () => {
  test('is hopeless after three refusals, never for lost connections', () => {
    expect(isHopeless(failing(2, true), false)).toBe(false);
    expect(isHopeless(failing(3, true), false)).toBe(true);
    expect(isHopeless(failing(1000, false), false)).toBe(false);
  });
  test('is hopeless when it has expired and was tried', () => {
    expect(isHopeless(failing(0, false), true)).toBe(false);
    expect(isHopeless(failing(3, false), true)).toBe(true);
  });
  test('waits longer after each failure, and starts anew after a session', () => {
    const candidate = failing(3, false);
    expect(candidate.notBefore).toBe(2000);
    clearRecord(candidate);
    expect(candidate).toMatchObject({ failures: 0, refusals: 0, notBefore: 0 });
  });
});
