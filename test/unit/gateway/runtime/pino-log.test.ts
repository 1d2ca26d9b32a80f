import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { redactFacts } from '#gateway/runtime/redact.ts';

const run = promisify(execFile);

async function logged(code: string): Promise<{ stdout: string; stderr: string }> {
  const script = `import { createPinoLog } from '#gateway/runtime/pino-log.ts';\n${code}`;
  return run(process.execPath, ['--input-type=module', '-e', script], { cwd: process.cwd() });
}

test('writes JSON Lines to stderr only, without what is below its level', async () => {
  const { stdout, stderr } = await logged(
    `const log = createPinoLog({ level: 'info', name: 'test' });
     log.debug('hidden'); log.info('first', { serial: '01' }); log.error('second'); process.kill(process.pid, 'SIGKILL');`,
  ).catch((error: { stdout: string; stderr: string }) => error);
  expect(stdout).toBe('');
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toMatchObject([
    { level: 'info', name: 'test', msg: 'first', serial: '01' },
    { level: 'error', msg: 'second' },
  ]);
});

test.each([
  ['process.exit', `process.exit(0);`],
  ['the end of its work', ``],
  ['an exception nobody catches', `throw new Error('on purpose');`],
  ['a rejection nobody handles', `void Promise.reject(new Error('on purpose'));`],
  [
    'a signal it handles',
    `process.once('SIGTERM', () => { log.info('stopping'); process.exit(0); }); process.kill(process.pid, 'SIGTERM');
     setInterval(() => {}, 1000);`,
  ],
])('loses no line when the process ends by %s', async (_name, end) => {
  const { stderr } = await logged(
    `const log = createPinoLog({ level: 'info' }); for (let i = 0; i < 500; i += 1) log.info('line', { i }); ${end}`,
  ).catch((error: { stdout: string; stderr: string }) => error);
  const numbers = [...stderr.matchAll(/"i":(\d+)/g)].map(([, i]) => Number(i));
  expect(numbers).toEqual(Array.from({ length: 500 }, (_, i) => i));
  if (end.includes('SIGTERM')) expect(stderr).toContain('"stopping"');
});

test('writes a line soon, while the process goes on', async () => {
  const { stderr } = await logged(
    `createPinoLog({ level: 'info' }).info('soon'); setTimeout(() => process.kill(process.pid, 'SIGKILL'), 1_000);`,
  ).catch((error: { stdout: string; stderr: string }) => error);
  expect(stderr).toContain('soon');
});

test('writes lines for people when asked', async () => {
  const { stderr } = await logged(
    `createPinoLog({ level: 'info', pretty: true }).info('session refused', { code: 'X', ticket: 'sesame' });`,
  );
  expect(stderr).toContain('session refused');
  expect(stderr).not.toContain('{"level"');
  expect(stderr).not.toContain('sesame');
});

test.each([
  'ticket',
  'password',
  'passphrase',
  'authorization',
  'Authorization',
  'key',
  'privateKey',
  'private_key',
  'secret',
  'token',
  'csr',
  'joinUrl',
])('hides the value of %s, however deep', (name) => {
  expect(JSON.stringify(redactFacts({ [name]: 'sesame', deep: [{ [name]: ['sesame'] }] }))).not.toContain('sesame');
});

test('keeps what only sounds like a secret', () => {
  expect(redactFacts({ ticketId: 't-1', keyKind: 'ec-p256', serial: '01' })).toEqual({
    ticketId: 't-1',
    keyKind: 'ec-p256',
    serial: '01',
  });
});

test('shows errors with their causes, bytes as a length, and survives rings', () => {
  const ring: Record<string, unknown> = {};
  ring['self'] = ring;
  const error = new Error('outer', { cause: Object.assign(new Error('inner'), { code: 'ENOENT' }) });
  const facts = redactFacts({ error, der: Buffer.alloc(9), ring, big: 5n, text: 'x'.repeat(5_000) });
  expect(facts).toMatchObject({
    error: { message: 'outer', cause: { message: 'inner', code: 'ENOENT' } },
    der: '[9 bytes]',
    big: '5',
  });
  expect(JSON.stringify(facts).length).toBeLessThan(10_000);
});
