import { chmod, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatPem } from '#ca/pkix/pem.ts';
import { AgentProcesses, ended } from '#test/fixtures/device-agent/agent-process.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';
import { claimOf, makerOf } from '#test/fixtures/device-agent/ways-to-enroll.ts';

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

async function file(name: string, content: string, mode = 0o600): Promise<string> {
  const path = join(agents.folder, name);
  await writeFile(path, content);
  await chmod(path, mode);
  return name;
}

describe('gatehouse-agent enroll --via mqtt', () => {
  test('takes a claim file, tells each step and that the claim is spent, and leaves the file alone', async () => {
    const claim = await file('claim.json', JSON.stringify(await claimOf(gateway)));
    const { code, stdout, stderr } = await agents.run(['enroll', '--via', 'mqtt', claim]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr.match(/^✓ \d\/5/gm)).toHaveLength(5);
    const [, attemptId] = /attempt (a-[0-9a-f]{16}): asking/.exec(stderr) ?? [];
    expect(stdout).toContain(`attempt ${attemptId}\n`);
    expect(stderr).toContain('the claim is spent: its file can be removed');
    expect(stdout + stderr).not.toContain('PRIVATE KEY');
    expect((await stat(join(agents.folder, claim))).isFile()).toBe(true);
  });

  test('takes the claim from stdin', async () => {
    const claim = JSON.stringify(await claimOf(gateway));
    expect(await agents.run(['enroll', '--via', 'mqtt', '-'], claim)).toMatchObject({ code: 0 });
  });

  test('warns when others may read the claim file', async () => {
    const claim = await file('claim.json', JSON.stringify(await claimOf(gateway)), 0o644);
    const { code, stderr } = await agents.run(['enroll', '--via', 'mqtt', claim]);
    expect(code).toBe(0);
    expect(stderr).toContain('other users may read claim.json');
  });

  test('ends with 3, the reason and the attempt when it is refused', async () => {
    gateway.decide = () => ({ status: 403, body: 'DEVICE_NOT_ALLOWED: the device is quarantined' });
    const claim = JSON.stringify(await claimOf(gateway));
    const { code, stdout, stderr } = await agents.run(['enroll', '--via', 'mqtt', '-'], claim);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toContain('DEVICE_NOT_ALLOWED: the device is quarantined');
    expect(stderr).toContain(`attempt: ${gateway.calls[0]?.attemptId}`);
    expect(stderr).toContain('✗ 3/5');
  });

  test('ends with 4 when nothing listens there', async () => {
    const claim = JSON.stringify(await claimOf(gateway));
    await gateway.stopMqtt();
    expect(await agents.run(['enroll', '--via', 'mqtt', '-'], claim)).toMatchObject({ code: 4 });
  });
});

test('waiting for approval is shown, by status too, may be broken off, and goes on where it was', async () => {
  gateway.decide = () => ({ status: 202, body: 'APPROVAL_PENDING: wait', headers: { 'Retry-After': '60' } });
  const child = agents.start(['enroll', '-', '--state', 's']);
  child.stdin?.end(gateway.joinUrl);
  let said = '';
  const waiting = new Promise<void>((resolve) => {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('Ctrl-C is safe')) resolve();
    });
  });
  await waiting;
  const shown = /… waiting for approval \(attempt (a-\S+)\), key fingerprint (([0-9a-f]{4} ?){4})/.exec(said);
  const [, attemptId, fingerprint] = shown ?? [];
  expect(attemptId).toBe(gateway.calls[0]?.attemptId);
  const sha256 = gateway.calls[0]?.spki ?? '';
  expect(fingerprint?.trim().replaceAll(' ', '')).toBe(sha256.slice(0, 16));
  child.kill('SIGINT');
  expect(await ended(child)).toBe(1);

  const status = await agents.run(['status', '--state', 's']);
  expect(status.code).toBe(5);
  expect(status.stdout).toContain(
    `waiting      for approval (attempt ${attemptId}), key fingerprint ${fingerprint?.trim()}`,
  );

  gateway.decide = () => 'issue';
  expect(await agents.run(['enroll', '-', '--state', 's'], gateway.joinUrl)).toMatchObject({ code: 0 });
  expect(gateway.calls.map((call) => call.attemptId)).toEqual([attemptId, attemptId]);
});

describe('gatehouse-agent enroll --idevid-cert', () => {
  test.each(['est', 'mqtt'] as const)('enrolls over %s', async (via) => {
    const { certificatePem, keyPem } = await makerOf(gateway, 'pump-17');
    const args = ['enroll', '--via', via, '--idevid-cert', await file('c.pem', certificatePem, 0o644)];
    const root = await file('root.pem', formatPem('CERTIFICATE', gateway.authority.rootDer), 0o644);
    const port = via === 'est' ? gateway.estPort : gateway.mqttPort;
    const where = ['--idevid-key', await file('k.pem', keyPem), '--gateway', `127.0.0.1:${port}`, '--root', root];
    const { code, stdout, stderr } = await agents.run([...args, ...where]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toMatch(/^pump-17 is enrolled/);
  });

  test('refuses a key file that others may read, with advice and before anything is sent', async () => {
    const { certificatePem, keyPem } = await makerOf(gateway, 'pump-17');
    const files = [
      '--idevid-cert',
      await file('c.pem', certificatePem),
      '--idevid-key',
      await file('k.pem', keyPem, 0o640),
    ];
    const gatewayIs = ['--gateway', `127.0.0.1:${gateway.estPort}`, '--root-sha256', gateway.rootSha256];
    const { code, stderr } = await agents.run(['enroll', ...files, ...gatewayIs]);
    expect(code).toBe(2);
    expect(stderr).toContain('next: chmod 600 k.pem');
    expect(gateway.calls).toEqual([]);
  });
});

describe('gatehouse-agent enroll ends with 2 and makes nothing', () => {
  test.each([
    ['when nothing is given', [], 'give the join URL'],
    ['when no claim is given', ['--via', 'mqtt'], 'give the claim file'],
    ['when a root stands beside a join URL', ['--root', 'r.pem', '-'], '--root goes with --idevid-cert'],
    ['when the key of the maker is missing', ['--idevid-cert', 'c.pem'], 'needs --idevid-key'],
    ['when the gateway is missing', ['--idevid-cert', 'c', '--idevid-key', 'k'], 'needs --gateway'],
    [
      'when the root is missing',
      ['--idevid-cert', 'c', '--idevid-key', 'k', '--gateway', 'gw:1'],
      'needs --root FILE or --root-sha256 HEX',
    ],
    [
      'when the address has no port',
      ['--idevid-cert', 'c', '--idevid-key', 'k', '--gateway', 'gw', '--root', 'r'],
      '--gateway is HOST:PORT',
    ],
  ])('%s', async (_name, args, text) => {
    const { code, stderr } = await agents.run(['enroll', ...args]);
    expect(code).toBe(2);
    expect(stderr).toContain(text);
    await expect(stat(join(agents.folder, 'agent-state'))).rejects.toThrow();
  });
});

test('gatehouse-agent enroll says which option a claim file needs', async () => {
  const { code, stderr } = await agents.run(['enroll', '-'], JSON.stringify(await claimOf(gateway)));
  expect(code).toBe(2);
  expect(stderr).toContain('use it with --via mqtt');
  expect(stderr).not.toContain('PRIVATE');
});
