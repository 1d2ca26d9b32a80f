import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { PROJECT_ROOT, run } from '#test/fixtures/processes/program.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

const DEMO = join(PROJECT_ROOT, 'scripts/demo.ts');
/** The whole life of a device, on processes of its own. Milliseconds. */
const PATIENCE_MS = 480_000;

type Step = { number: number; title: string; ok: boolean; ms: number; facts: string[] };
type Result = { ok: boolean; steps: Step[]; leftOut: string[] };

describe('npm run demo', () => {
  let folder: string;
  beforeEach(async () => {
    // Short: sockets live in it.
    folder = await mkdtemp(join(tmpdir(), 'gh-demo-'));
  });
  afterEach(async () => {
    // However it ended: no folder, no process.
    const left = await readdir(folder);
    const processes = await run('ps', ['-e', '-o', 'pid=,args=']);
    await rm(folder, { recursive: true });
    expect(left).toEqual([]);
    expect(processes.stdout.split('\n').filter((line) => line.includes(`${folder}/`))).toEqual([]);
  });

  test.skipIf(lacks('openssl'))('lives the whole life of a device and ends with 0', async () => {
    const env = { ...process.env, TMPDIR: folder };
    const { code, stdout, stderr } = await run(process.execPath, [DEMO, '--exit', '--json'], {
      env,
      patienceMs: PATIENCE_MS,
    });
    expect(stderr).toBe('');
    const { ok, steps, leftOut } = JSON.parse(stdout) as Result;
    expect({ code, ok }).toEqual({ code: 0, ok: true });
    const joined = steps.find(({ title }) => title.includes('TPM'));
    if (lacksTpmTls()) {
      expect(leftOut.join()).toContain('a device with a TPM is left out: missing ');
    } else {
      expect(leftOut).toEqual([]);
      expect(joined?.facts.join('\n')).toMatch(
        /with a key in a file: refused[^]*proof level tpm-endorsed, enrolled in \d/,
      );
    }
    expect(steps.map((step) => step.number)).toEqual(Array.from({ length: joined ? 11 : 10 }, (_, at) => at + 1));
    expect(steps.every((step) => step.ok && step.facts.length > 0)).toBe(true);
  });

  test('says which step failed and why, and ends with 1, when a step cannot be verified', async () => {
    // Without openssl the CRL cannot be judged.
    const env = { ...process.env, TMPDIR: folder, PATH: folder };
    const { code, stdout, stderr } = await run(process.execPath, [DEMO, '--exit', '--json'], {
      env,
      patienceMs: PATIENCE_MS,
    });
    const { ok, steps, leftOut } = JSON.parse(stdout) as Result;
    expect({ code, ok }).toEqual({ code: 1, ok: false });
    expect(leftOut.join()).toContain('missing swtpm');
    expect(steps.at(-1)).toMatchObject({ number: 10, ok: false });
    expect(stderr).toContain('The demo failed at step 10: the CRL lists it; openssl agrees');
    expect(stderr).toContain('openssl cannot be started; install it');
    expect(stderr).toContain('Last lines of gateway:');
  });

  test('cleans up when it is interrupted in the middle of a step', async () => {
    const demo = new RunningProcess('demo', [DEMO], { env: { ...process.env, TMPDIR: folder } });
    await demo.until('the second step', () => demo.stdout.find((line) => line.includes('two devices are registered')));
    process.kill(demo.pid, 'SIGINT');
    expect(await demo.ended).toEqual({ code: 130, signal: null });
  });
});
