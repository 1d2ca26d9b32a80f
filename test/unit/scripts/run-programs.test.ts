import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '#test/fixtures/processes/program.ts';
import { SmallCheckout } from '#test/fixtures/scripts/small-checkout.ts';

/** Says what it got; with `wait`, stays until it is asked to end. TypeScript, so only a new Node runs it. */
const PROGRAM = `
const args: string[] = process.argv.slice(2);
if (args.includes('wait')) {
  process.on('SIGTERM', () => process.exit(42));
  process.on('disconnect', () => process.exit(43));
  setInterval(() => undefined, 1000);
} else process.exitCode = 7;
console.log(JSON.stringify({ args, node: process.versions.node, tied: process.channel !== undefined }));
`;
const OLD_NODE = '/usr/bin/node';

describe('starting programs of a checkout', () => {
  let checkout: SmallCheckout;
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    checkout = await SmallCheckout.make();
    await checkout.write('gateway/main.ts', PROGRAM);
    await checkout.write('scripts/gatehouse.ts', PROGRAM);
    await checkout.run(['setup']);
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await checkout.dispose();
  });

  /** Resolves when the program has said its line. */
  async function startWaiting(): Promise<ChildProcess> {
    const args = [checkout.path('scripts/run.mjs'), 'start', 'wait'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    await once(child.stdout, 'data');
    return child;
  }

  test('passes arguments on and the exit code back', async () => {
    const { code, stdout } = await checkout.run(['start', '--data', 'a b', '']);
    expect(JSON.parse(stdout)).toMatchObject({ args: ['--data', 'a b', ''], tied: true });
    expect(code).toBe(7);
  });

  test('passes SIGTERM on and waits for the end', async () => {
    const child = await startWaiting();
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([42, null]);
  });

  test('leaves nothing running when it is killed itself', async () => {
    const child = await startWaiting();
    const rest = child.stdout ? text(child.stdout) : undefined;
    child.kill('SIGKILL');
    // The pipe closes when its last holder, the program, has ended.
    await expect(rest).resolves.toBe('');
  });

  test('names its programs when it is given none of them', async () => {
    for (const args of [[], ['constructor']]) {
      expect(await checkout.run(args)).toMatchObject({
        code: 2,
        stdout: '',
        stderr: expect.stringContaining('usage:'),
      });
    }
  });

  test('runs the command line in the same process where this Node can', async () => {
    const { code, stdout } = await run(process.execPath, [checkout.path('scripts/bin/gatehouse.mjs'), 'x']);
    expect(JSON.parse(stdout)).toMatchObject({ args: ['x'], node: process.versions.node });
    expect(code).toBe(7);
  });

  test.skipIf(!existsSync(OLD_NODE))('runs the command line on Node 24 whatever Node it was started with', async () => {
    const { code, stdout } = await run(OLD_NODE, [checkout.path('scripts/bin/gatehouse.mjs'), 'x']);
    expect(JSON.parse(stdout)).toMatchObject({ args: ['x'], node: expect.stringMatching(/^24\./) });
    expect(code).toBe(7);
  });
});
