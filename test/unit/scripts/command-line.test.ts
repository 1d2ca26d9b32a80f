import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CaDescription, HealthCheck } from '#gateway/contract/operator-api.ts';
import { createProgram } from '#scripts/command-line/program.ts';
import { PROGRAMS, run } from '#test/fixtures/processes/program.ts';

const { npm_command: _, ...env } = process.env;

function gatehouse(...args: string[]) {
  return run(process.execPath, [PROGRAMS.gatehouse, ...args], { env });
}

function leavesOf(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

describe('the gatehouse command without a gateway', () => {
  let folder: string;
  let dataDir: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-cli-'));
    dataDir = join(folder, 'data');
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('has an example in the help of every command', () => {
    for (const leaf of leavesOf(createProgram())) {
      let help = '';
      leaf.configureOutput({ writeOut: (text) => (help += text) });
      leaf.outputHelp();
      expect(help, leaf.name()).toMatch(/\nExamples:\n {2}\$ gatehouse /);
      expect(help, leaf.name()).toContain('--json');
    }
  });

  test.each([
    [['device', 'add'], /missing required argument 'id'/],
    [['device', 'add', '-x'], /unknown option '-x'/],
    [['device', 'add', '__proto__'], /is not a device id/],
    [['device', 'add', 'a/b'], /is not a device id/],
    [['device', 'revoke', 'press-07'], /required option '--reason <reason>' not specified/],
    [['device', 'revoke', 'press-07', '--reason', 'stolen'], /a reason is one of/],
    [['device', 'lst'], /Did you mean list/],
    [['group', 'set', 'default', '--lifetime', '7'], /is not a duration/],
    [['group', 'set', 'default', '--keys', 'rsa-1024'], /a key is one of/],
    [['group', 'set', 'default'], /nothing to change was given/],
    [['certificate', 'show', 'xyz'], /hexadecimal/],
    [['serve', '--est-port', '70000'], /a port is a number from 0 to 65535/],
    [['nonsense'], /unknown command 'nonsense'/],
  ])('ends with 2 and says what is wrong: %j', async (args, message) => {
    const { code, stdout, stderr } = await gatehouse(...args, '--data', dataDir);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(stdout).toBe('');
  });

  test('ends with 4 and says how to start the gateway', async () => {
    const { code, stdout, stderr } = await gatehouse('device', 'list', '--data', dataDir);
    expect(stderr).toBe(
      `gatehouse: no gateway runs with the data folder ${dataDir}\n` +
        `next: start it with: gatehouse serve --data ${dataDir}   (or name another folder with --data or GATEHOUSE_DATA)\n`,
    );
    expect(stdout).toBe('');
    expect(code).toBe(4);
  });

  test('takes --data and --json before the command, too, and then says errors as JSON', async () => {
    const { code, stderr } = await gatehouse('--data', dataDir, '--json', 'device', 'show', 'press-07');
    expect(code).toBe(4);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'NOT_RUNNING', advice: expect.any(String) } });
  });

  test.each([
    [['--help'], /^gatehouse: the output could not be written: ENOSPC.*\n$/],
    [['--json', '--help'], /^\{"error":\{"code":"FAILED","detail":"the output could not be written: ENOSPC.*"\}\}\n$/],
  ])('ends with 1 and one line when the result has no room: %j', async (args, line) => {
    const shell = '"$0" "$@" > /dev/full';
    const { code, stderr } = await run('sh', ['-c', shell, process.execPath, PROGRAMS.gatehouse, ...args], { env });
    expect(stderr).toMatch(line);
    expect(code).toBe(1);
  });

  test('keeps its exit code when there is no room for what it says', async () => {
    const shell = '"$0" "$@" 2> /dev/full';
    const args = [process.execPath, PROGRAMS.gatehouse, 'device', 'list', '--data', dataDir];
    expect((await run('sh', ['-c', shell, ...args], { env })).code).toBe(4);
  });

  test('takes the data folder from GATEHOUSE_DATA', async () => {
    const options = { env: { ...env, GATEHOUSE_DATA: dataDir } };
    const { stderr } = await run(process.execPath, [PROGRAMS.gatehouse, 'group', 'list'], options);
    expect(stderr).toContain(dataDir);
  });

  describe('with an authority made by `ca init`', () => {
    let rootSha256: string;
    beforeAll(async () => {
      const { code, stdout, stderr } = await gatehouse(
        'ca',
        'init',
        '--trust-domain',
        'plant.example',
        '--data',
        dataDir,
        '--json',
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      ({ rootSha256 } = JSON.parse(stdout) as { rootSha256: string });
    });

    test('shows it', async () => {
      const { stdout } = await gatehouse('ca', 'show', '--data', dataDir, '--json');
      const description = JSON.parse(stdout) as CaDescription;
      expect(description).toMatchObject({ trustDomain: 'plant.example', crl: null });
      expect(description.root.sha256).toBe(rootSha256);
      expect(description.intermediate.notAfter).toBeLessThanOrEqual(description.root.notAfter);
    });

    test('exports root, intermediate and chain as PEM', async () => {
      const root = (await gatehouse('ca', 'export', '--data', dataDir)).stdout;
      const intermediate = (await gatehouse('ca', 'export', '--what', 'intermediate', '--data', dataDir)).stdout;
      const out = join(folder, 'chain.pem');
      await gatehouse('ca', 'export', '--what', 'chain', '--out', out, '--data', dataDir);
      expect(root).toBe(await readFile(join(dataDir, 'ca', 'root.pem'), 'utf8'));
      expect(await readFile(out, 'utf8')).toBe(intermediate + root);
    });

    test('never makes another one over it', async () => {
      const before = await readFile(join(dataDir, 'ca', 'root.pem'));
      const { code, stderr } = await gatehouse('ca', 'init', '--data', dataDir);
      expect(code).toBe(1);
      expect(stderr).toMatch(/an authority is made once/);
      expect(await readFile(join(dataDir, 'ca', 'root.pem'))).toEqual(before);
    });

    test('finds with `doctor` what is open to other users, and that no gateway runs', async () => {
      const passphrase = join(dataDir, 'ca', 'passphrase');
      await chmod(passphrase, 0o644);
      const { code, stdout } = await gatehouse('doctor', '--data', dataDir, '--json');
      await chmod(passphrase, 0o600);
      const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: HealthCheck[] };
      expect(ok).toBe(false);
      expect(code).toBe(1);
      const wrong = checks.filter((check) => !check.ok);
      expect(wrong.map(({ name }) => name)).toEqual(['file modes', 'gateway']);
      expect(wrong[0]?.advice).toBe(`close them with: chmod go= ${passphrase}`);
      expect(wrong[1]?.advice).toContain(`gatehouse serve --data ${dataDir}`);
    });

    test('finds with `doctor` a certificate that cannot be read', async () => {
      const path = join(dataDir, 'ca', 'intermediate.pem');
      const pem = await readFile(path);
      await writeFile(path, pem.subarray(0, 200));
      const { stdout } = await gatehouse('doctor', '--data', dataDir);
      await writeFile(path, pem);
      expect(stdout).toMatch(/^WRONG {2}intermediate certificate: /m);
      expect(stdout).toMatch(/^ok {5}root certificate: good until /m);
    });
  });

  test('says with `doctor` that the folder does not exist', async () => {
    const { code, stdout } = await gatehouse('doctor', '--data', join(folder, 'nowhere'));
    expect(code).toBe(1);
    expect(stdout).toMatch(/^WRONG {2}data folder: .*nowhere does not exist\n {7}next: name it with --data/m);
  });
});
