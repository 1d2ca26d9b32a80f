export type TestCounts = { passed: number; failed: number; skipped: number };

/** The part of vitest's JSON report that is counted here. */
type Report = {
  testResults?: { status?: string; assertionResults?: { status?: string }[] }[];
};

/**
 * Counts tests; a test file that failed before its first test counts as one failed test, so that the line never says
 * "0 failed" about a run that failed.
 */
export function countResults(report: Report): TestCounts {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { status, assertionResults = [] } of report.testResults ?? []) {
    for (const test of assertionResults) {
      if (test.status === 'passed') counts.passed += 1;
      else if (test.status === 'failed') counts.failed += 1;
      else counts.skipped += 1;
    }
    if (status === 'failed' && !assertionResults.some((test) => test.status === 'failed')) counts.failed += 1;
  }
  return counts;
}
