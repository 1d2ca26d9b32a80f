import { describe, expect, test } from 'vitest';
import { countResults } from '#scripts/test-run/count-results.ts';

const file = (status: string, ...tests: string[]) => ({
  status,
  assertionResults: tests.map((state) => ({ status: state })),
});

describe('the closing line of `npm test`', () => {
  test('counts tests that passed, failed and were skipped over all files', () => {
    const report = { testResults: [file('passed', 'passed', 'skipped'), file('failed', 'passed', 'failed', 'todo')] };
    expect(countResults(report)).toEqual({ passed: 2, failed: 1, skipped: 2 });
  });

  test('counts a file that could not be loaded as a failure', () => {
    expect(countResults({ testResults: [file('failed'), file('passed', 'passed')] })).toEqual({
      passed: 1,
      failed: 1,
      skipped: 0,
    });
  });

  test('is all zeros for an empty run', () => {
    expect(countResults({})).toEqual({ passed: 0, failed: 0, skipped: 0 });
  });
});
