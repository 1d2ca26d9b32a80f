import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PROJECT_ROOT, run } from '#test/fixtures/processes/program.ts';

describe('`npm test`', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-run-tests-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** Runs it over one test file of a folder of its own. */
  async function runTests(content: string) {
    await writeFile(join(folder, 'sample.test.js'), content);
    const { VITEST: _, VITEST_POOL_ID: __, VITEST_WORKER_ID: ___, ...env } = process.env;
    const args = [join(PROJECT_ROOT, 'scripts/run-tests.ts'), '--root', folder, '--globals'];
    const { code, stdout } = await run(process.execPath, args, { env });
    return { code, last: stdout.trimEnd().split('\n').at(-1) };
  }

  test('ends with a plain line of what passed, failed and was skipped', async () => {
    const content = `test('a', () => {}); test('b', () => {}); test.skip('c', () => {}); test.todo('d')`;
    expect(await runTests(content)).toEqual({ code: 0, last: '2 passed, 0 failed, 2 skipped' });
  });

  test('fails when a test fails', async () => {
    const content = `test('a', () => {}); test('b', () => { throw new Error('no') })`;
    expect(await runTests(content)).toEqual({ code: 1, last: '1 passed, 1 failed, 0 skipped' });
  });

  test('fails when no test was executed', async () => {
    expect(await runTests(`test.skip('a', () => {})`)).toEqual({ code: 1, last: '0 passed, 0 failed, 1 skipped' });
  });

  test('fails when a file cannot be loaded', async () => {
    expect(await runTests(`import './nowhere.js'; test('a', () => {})`)).toEqual({
      code: 1,
      last: '0 passed, 1 failed, 0 skipped',
    });
  });

  test('fails on a rejection that nobody handled, although every test passed', async () => {
    const content = `test('a', async () => { void Promise.reject(new Error('lost')); await new Promise(setImmediate) })`;
    const { code, last } = await runTests(content);
    expect(last).toBe('1 passed, 0 failed, 0 skipped');
    expect(code).toBe(1);
  });
});
