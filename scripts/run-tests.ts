import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PROJECT_ROOT } from './command-line/project-root.ts';
import { countResults, type TestCounts } from './test-run/count-results.ts';

/** `npm test`: vitest, and one plain line at the end that says how many tests passed, failed and were skipped. */
const folder = await mkdtemp(join(tmpdir(), 'gatehouse-tests-'));
try {
  const report = join(folder, 'results.json');
  const exitCode = await runVitest(process.argv.slice(2), report);
  const counts = await readCounts(report);
  process.exitCode = judge(exitCode, counts);
  process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
} finally {
  await rm(folder, { recursive: true, force: true });
}

function runVitest(args: readonly string[], report: string): Promise<number> {
  const vitest = join(PROJECT_ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const options = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const child = spawn(process.execPath, [vitest, ...options, ...args], { cwd: PROJECT_ROOT, stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // A terminal sends Ctrl-C to the whole group: vitest has it already. We stay to tell the counts and clean up.
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

async function readCounts(report: string): Promise<TestCounts> {
  try {
    return countResults(JSON.parse(await readFile(report, 'utf8')));
  } catch {
    process.stderr.write('vitest ended before it wrote its results\n');
    return { passed: 0, failed: 0, skipped: 0 };
  }
}

/** Nothing that ran is nothing that was shown to work. */
function judge(exitCode: number, counts: TestCounts): number {
  if (exitCode !== 0) return exitCode;
  if (counts.failed > 0) return 1;
  if (counts.passed > 0) return 0;
  process.stderr.write('no test was executed: that is a failure\n');
  return 1;
}
