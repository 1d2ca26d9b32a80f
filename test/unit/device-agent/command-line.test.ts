import { chmod, mkdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AgentProcesses, ended } from '#test/fixtures/device-agent/agent-process.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

let gateway: TestGateway;
let agents: AgentProcesses;
beforeEach(async () => {
  gateway = await TestGateway.start();
  agents = await AgentProcesses.create();
});
afterEach(async () => {
  await agents.stopAll();
  await gateway.stop();
});

const hasState = (serial: string) => () =>
  gateway.states().some((state) => state['connected'] === true && state['serial'] === serial);

describe('gatehouse-agent enroll', () => {
  test('prints a tick per step, keeps secrets to itself and says what comes next', async () => {
    const { code, stdout, stderr } = await agents.run(['enroll', gateway.joinUrl]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr.match(/^✓ \d\/7/gm)).toHaveLength(7);
    expect(stdout).toMatch(/^pump-17 is enrolled: serial [0-9a-f]+, valid until \S+, attempt a-[0-9a-f]{16}\n$/);
    expect(stderr).toContain('next: gatehouse-agent run');
    expect(stdout + stderr).not.toContain(gateway.ticket);
    const folder = join(agents.folder, 'agent-state');
    const mode = async (name: string) => (await stat(join(folder, name))).mode & 0o777;
    expect(await mode('.')).toBe(0o700);
    expect(await mode('current/key.pem')).toBe(0o600);
    expect(await readlink(join(folder, 'current'))).toBe('generations/1');
    expect(await readFile(join(folder, 'current/certificate.pem'), 'utf8')).toMatch(
      /(-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n){2}/,
    );
    expect(await readFile(join(folder, 'agent.json'), 'utf8')).not.toContain(gateway.ticket);
  });

  test('reads the join URL from stdin, and says so when it is done already', async () => {
    const first = await agents.run(['enroll', '-', '--state', 's', '--json'], `${gateway.joinUrl}\n`);
    expect(first.code).toBe(0);
    expect(JSON.parse(first.stdout)).toMatchObject({
      deviceId: 'pump-17',
      serial: expect.any(String),
      attemptId: expect.any(String),
    });
    const again = await agents.run(['enroll', gateway.joinUrl, '--state', 's']);
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('already enrolled') });
  });

  test('names the step, the reason, the next action and the attempt when the gateway refuses', async () => {
    gateway.decide = () => ({ status: 403, body: 'this ticket has been used. Ask the operator for a new ticket.' });
    const { code, stdout, stderr } = await agents.run(['enroll', gateway.joinUrl]);
    expect(code).toBe(3);
    expect(stdout).toBe('');
    expect(stderr).toContain('✗ 5/7 certificate');
    expect(stderr).toContain('this ticket has been used. Ask the operator for a new ticket.');
    expect(stderr).toContain(`attempt: ${gateway.calls[0]?.attemptId}`);
  });

  test.each([
    ['the key provider is unknown', ['--key', 'cloud'], 'Allowed choices'],
    ['the algorithm is unknown', ['--algorithm', 'rsa-1024'], 'Allowed choices'],
    ['an option is unknown', ['--tpm'], 'unknown option'],
  ])('ends with 2 and changes nothing when %s', async (_name, args, text) => {
    const result = await agents.run(['enroll', gateway.joinUrl, ...args]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(text);
    await expect(stat(join(agents.folder, 'agent-state'))).rejects.toThrow();
  });

  test('names stdin first in its help, since arguments are seen by all users', async () => {
    const { code, stdout } = await agents.run(['enroll', '--help']);
    expect(code).toBe(0);
    expect(stdout.indexOf('gatehouse-agent -')).toBeLessThan(stdout.indexOf('gatehouse://'));
    expect(stdout).toContain('every user of a machine can see the arguments');
  });

  test('never repeats a broken join URL, which may hold a ticket', async () => {
    const result = await agents.run(['enroll', 'gatehouse://host/pump/SECRET']);
    expect(result.code).toBe(2);
    expect(result.stderr).not.toContain('SECRET');
  });

  test('ends with 4 when nothing listens there', async () => {
    await gateway.stopEst();
    const { code, stderr } = await agents.run(['enroll', gateway.joinUrl]);
    expect(code).toBe(4);
    expect(stderr).toContain('✗ 1/7');
  });
});

describe('gatehouse-agent run', () => {
  test('lives: status, publish, listen, renew with a hook, clean end', async () => {
    const state = ['--state', `${'long-'.repeat(30)}/state`];
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm', ...state]);
    expect(gateway.connects).toEqual([]);
    const hook = 'echo "hook $GATEHOUSE_DEVICE_ID $(basename $PWD)"; openssl x509 -noout -in "$GATEHOUSE_CERTIFICATE"';
    const { child, log, other } = await agents.daemon([...state, '--hook', hook]);
    await gateway.until(() => gateway.states().length > 0);
    const serial = String(gateway.states()[0]?.['serial']);

    const status = await agents.run(['status', '--json', ...state]);
    expect(status.code).toBe(0);
    expect(JSON.parse(status.stdout)).toMatchObject({
      deviceId: 'pump-17',
      state: 'enrolled',
      connected: true,
      certificate: { serial, notAfter: expect.any(Number) },
      nextRenewalAt: expect.any(Number),
      keyProvider: 'software',
      proofLevel: 'software',
    });

    const second = await agents.run(['run', ...state]);
    expect(second).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('an agent runs on this state folder already'),
    });

    expect((await agents.run(['publish', 'temperature', '21', ...state])).code).toBe(0);
    await gateway.until(() =>
      gateway.published.some(({ topic, payload }) => topic === 'v1/d/pump-17/out/data/temperature' && payload === '21'),
    );

    const listener = agents.start(['listen', '#', '--count', '1', '--timeout', '90', ...state]);
    let heard = '';
    listener.stdout?.on('data', (text: Buffer) => {
      heard += text.toString();
    });
    await new Promise<void>((resolve) => {
      listener.stderr?.on('data', (text: Buffer) => {
        if (text.toString().includes('listening')) resolve();
      });
    });
    gateway.send('v1/d/pump-17/in/data/valve', 'open "it"');
    expect(await ended(listener)).toBe(0);
    expect(JSON.parse(heard)).toEqual({ topic: 'v1/d/pump-17/in/data/valve', payload: 'open "it"' });

    const renewed = await agents.run(['renew', '--json', ...state]);
    const { oldSerial, newSerial } = JSON.parse(renewed.stdout) as Record<string, string>;
    expect(oldSerial).toBe(serial);
    await gateway.until(hasState(newSerial ?? ''));
    await gateway.until(() => gateway.states().at(-1)?.['hook'] !== undefined);
    expect(gateway.states().at(-1)?.['hook']).toMatchObject({ exitCode: 0, timedOut: false });
    expect(other).toContain(`hook pump-17 ${agents.folder.split('/').at(-1)}`);

    child.kill('SIGTERM');
    expect(await ended(child)).toBe(0);
    expect(log.at(-1)).toMatchObject({ level: 'info', message: 'agent stops', signal: 'SIGTERM' });
    expect(gateway.states().at(-1)?.['connected']).toBe(true);
    expect((await agents.run(['publish', 'x', '1', ...state])).stderr).toContain('no agent runs');
  });

  test('starts again after kill -9, and makes a new session at SIGHUP', async () => {
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    const first = await agents.daemon([]);
    const live = () => gateway.states().filter((state) => state['connected'] === true).length;
    await gateway.until(() => live() === 1);
    first.child.kill('SIGKILL');
    await ended(first.child);
    const second = await agents.daemon([]);
    await gateway.until(() => live() === 2);
    second.child.kill('SIGHUP');
    await gateway.until(() => gateway.connects.length === 3);
  });

  test('ends a hook that takes too long, and reports that', async () => {
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    await agents.daemon(['--hook', 'sleep 60 & wait', '--hook-timeout', '1']);
    await gateway.until(() => gateway.states().length > 0);
    expect((await agents.run(['renew'])).code).toBe(0);
    await gateway.until(() => gateway.states().at(-1)?.['hook'] !== undefined);
    expect(gateway.states().at(-1)?.['hook']).toMatchObject({ exitCode: null, timedOut: true });
  });
});

const folder = () => join(agents.folder, 'agent-state');
const modeOf = async (name: string) => (await stat(join(folder(), name))).mode & 0o777;
const openToOthers = async () => {
  await chmod(folder(), 0o755);
  await chmod(join(folder(), 'current/key.pem'), 0o644);
};
const expectClosed = async () => {
  expect(await modeOf('.')).toBe(0o700);
  expect(await modeOf('current/key.pem')).toBe(0o600);
};

describe('a state folder that is open to others', () => {
  test('is closed by run, which logs it', async () => {
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    await openToOthers();
    const { log } = await agents.daemon([]);
    await expectClosed();
    expect(log.filter(({ level }) => level === 'warn')).toMatchObject([
      { message: 'a part of the state folder was open to others and is closed now', path: '.', mode: '755' },
      {
        message: 'the private key was open to others and is closed now',
        path: 'generations/1/key.pem',
        mode: '644',
        advice: expect.stringContaining('renew'),
      },
    ]);
  });

  test('is closed by renew and enroll, which say so', async () => {
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    for (const command of [['enroll', gateway.joinUrl, '--no-confirm'], ['renew']]) {
      await openToOthers();
      const { code, stderr } = await agents.run(command);
      expect({ code, stderr }).toMatchObject({
        code: 0,
        stderr: expect.stringContaining('the private key was open to others'),
      });
      await expectClosed();
    }
  });

  test('is left alone and refused when it holds the things of others', async () => {
    await mkdir(folder());
    await chmod(folder(), 0o755);
    await writeFile(join(folder(), 'letter.txt'), 'dear');
    const { code, stderr } = await agents.run(['enroll', gateway.joinUrl]);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('a folder of its own') });
    expect(await modeOf('.')).toBe(0o755);
    expect(gateway.calls).toEqual([]);
  });
});

describe('gatehouse-agent without a running agent', () => {
  test('says what is missing before enrollment', async () => {
    const status = await agents.run(['status', '--json']);
    expect(status.code).toBe(5);
    expect(JSON.parse(status.stdout)).toMatchObject({
      deviceId: null,
      state: 'not-enrolled',
      connected: false,
      certificate: null,
    });
    expect(await agents.run(['run'])).toMatchObject({ code: 5, stderr: expect.stringContaining('next:') });
    expect(await agents.run(['renew'])).toMatchObject({ code: 5 });
  });

  test('renews by itself, and checks each thing', async () => {
    await agents.run(['enroll', gateway.joinUrl]);
    const renewed = await agents.run(['renew']);
    expect(renewed).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^renewed: old serial [0-9a-f]+, new serial [0-9a-f]+\n$/),
    });
    const check = await agents.run(['check']);
    expect(check).toMatchObject({ code: 0, stdout: expect.not.stringContaining('failed') });
    const folder = join(agents.folder, 'agent-state');
    await chmod(folder, 0o755);
    await chmod(join(folder, 'current/key.pem'), 0o644);
    await gateway.stopMqtt();
    const broken = await agents.run(['check', '--json']);
    expect(broken.code).toBe(1);
    const failures = (JSON.parse(broken.stdout) as { ok: boolean; what: string; advice?: string }[]).filter(
      ({ ok }) => !ok,
    );
    expect(failures.map(({ what }) => what)).toEqual([
      expect.stringContaining('others may enter the state folder'),
      expect.stringContaining('others may read the private key'),
      expect.stringContaining('an MQTT session is possible'),
    ]);
    expect(failures.every(({ advice }) => advice)).toBe(true);
  });

  test('is not healthy with an expired certificate', async () => {
    gateway.lifetime = { life: 60, age: 300 };
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    // An hour on, by what the agent knows for sure.
    const floor = { version: 1, floor: Date.now() + 3600_000 };
    await writeFile(join(agents.folder, 'agent-state/time-floor.json'), JSON.stringify(floor));
    const status = await agents.run(['status', '--json']);
    expect(status.code).toBe(1);
    expect(JSON.parse(status.stdout)).toMatchObject({ state: 'expired', advice: expect.stringContaining('--replace') });
  });

  test.each([
    ['empty', ''],
    ['cut off', '{"version":1,'],
    ['of another shape', '{"version":1}'],
  ])('is not healthy when agent.json is %s, and says so', async (_name, content) => {
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    await writeFile(join(agents.folder, 'agent-state/agent.json'), content);
    for (const command of [['status'], ['status', '--json'], ['run']]) {
      const result = await agents.run(command);
      expect(result).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('agent.json cannot be used'),
      });
      expect(result.stderr).toContain('next: ');
    }
  });

  test('says what is wrong with a broken key file, in its own words', async () => {
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    await writeFile(join(agents.folder, 'agent-state/current/key.pem'), 'x');
    const { code, stdout } = await agents.run(['check']);
    expect(code).toBe(1);
    expect(stdout).toContain('key.pem is damaged');
    expect(stdout).toContain(
      'next: restore the state folder from a copy, or enroll again with --replace and a new ticket',
    );
    expect(stdout).not.toMatch(/DECODER|error:|routines/i);
  });

  test('names a damaged state folder instead of guessing', async () => {
    await mkdir(join(agents.folder, 'agent-state'), { mode: 0o700 });
    await writeFile(join(agents.folder, 'agent-state/agent.json'), '{"version":1}');
    expect(await agents.run(['run'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('agent.json cannot be used'),
    });
  });
});
