import { createHash, X509Certificate } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ReadyFile } from '#gateway/contract/data-folder.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, isAlive, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { PROGRAMS, run } from '#test/fixtures/processes/program.ts';

describe('the first start of `gatehouse serve`', () => {
  let gateway: GatewayProcess;
  let ready: ReadyFile;
  beforeAll(async () => {
    gateway = await startGateway({ by: 'gatehouse serve' });
    ({ ready } = gateway);
  });
  afterAll(() => gateway?.dispose());

  test('prints one block: every URL, the fingerprint of the root and what to type next', async () => {
    await gateway.process.until('the next command', () =>
      gateway.process.stdout.find((line) => line.startsWith('Next: ')),
    );
    const block = gateway.process.stdout.join('\n');
    for (const { url } of [ready.est, ready.mqtt, ready.status, ready.operator]) expect(block).toContain(url);
    expect(block).toContain(ready.rootSha256);
    expect(block).toMatch(/Next: npx gatehouse device add /);
  });

  test('writes a ready file that others can rely on', async () => {
    expect(Object.keys(ready).sort()).toEqual(
      ['pid', 'dataDir', 'rootSha256', 'rootPem', 'est', 'mqtt', 'status', 'operator'].sort(),
    );
    for (const door of [ready.est, ready.mqtt, ready.status, ready.operator]) {
      expect(door).toEqual({ host: '127.0.0.1', port: expect.any(Number), url: expect.any(String) });
      expect(new URL(door.url).port).toBe(String(door.port));
      expect(door.port).toBeGreaterThan(0);
    }
    expect(
      [ready.est.url, ready.mqtt.url, ready.status.url, ready.operator.url].map((url) => url.split(':')[0]),
    ).toEqual(['https', 'mqtts', 'http', 'https']);
    expect(ready.dataDir).toBe(gateway.dataDir);
    // It names the gateway itself, not the command that started it.
    expect(ready.pid).not.toBe(gateway.process.pid);
    expect(() => process.kill(ready.pid, 0)).not.toThrow();
  });

  test('makes a root whose fingerprint is the one it says', async () => {
    expect(ready.rootPem).toBe(join(gateway.dataDir, 'ca', 'root.pem'));
    const root = new X509Certificate(await readFile(ready.rootPem));
    expect(createHash('sha256').update(root.raw).digest('hex')).toBe(ready.rootSha256);
    const intermediate = new X509Certificate(await readFile(join(gateway.dataDir, 'ca', 'intermediate.pem')));
    expect(intermediate.checkIssued(root)).toBe(true);
    expect(intermediate.verify(root.publicKey)).toBe(true);
    expect(root.publicKey.asymmetricKeyType).toBe('ec');
  });

  test('keeps keys encrypted, and closed to other users', async () => {
    const folder = join(gateway.dataDir, 'ca');
    const names = await readdir(folder);
    for (const name of names.filter((entry) => /key|passphrase|journal/.test(entry))) {
      expect((await stat(join(folder, name))).mode & 0o077, name).toBe(0);
    }
    for (const key of ['root.key.pem', 'intermediate.key.pem']) {
      expect(await readFile(join(folder, key), 'utf8'), key).toMatch(/ENCRYPTED/);
    }
    for (const name of ['run/operator.sock', 'run/authority.sock', 'gateway.db', 'gateway/server.key.pem']) {
      expect((await stat(join(gateway.dataDir, name))).mode & 0o077, name).toBe(0);
    }
    expect((await stat(gateway.dataDir)).mode & 0o077).toBe(0);
  });

  test('says in no log line what a key or a passphrase is', async () => {
    const passphrase = (await readFile(join(gateway.dataDir, 'ca', 'passphrase'), 'utf8')).trim();
    const said = [...gateway.process.stdout, ...gateway.process.log.map(({ text }) => text)].join('\n');
    expect(said).not.toContain(passphrase);
    expect(said).not.toMatch(/PRIVATE KEY/);
  });

  test('is healthy by its own doctor', async () => {
    const { ok, checks } = await gateway.gatehouse<{ ok: boolean; checks: { ok: boolean }[] }>('doctor');
    expect(checks.filter((check) => !check.ok)).toEqual([]);
    expect(ok).toBe(true);
  });

  test('is alone on its folder: a second one says so and ends', async () => {
    const { code, stderr } = await run(process.execPath, [
      PROGRAMS.gatehouse,
      'serve',
      '--data',
      gateway.dataDir,
      '--host',
      '127.0.0.1',
      '--est-port',
      '0',
      '--mqtt-port',
      '0',
      '--status-port',
      '0',
      '--operator-port',
      '0',
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('another gateway runs');
  });

  test('refuses an option it does not know, with the way to help', async () => {
    const { code, stderr } = await run(process.execPath, [
      PROGRAMS.gateway,
      '--data',
      gateway.dataDir,
      '--mqqt-port',
      '1',
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain('--mqqt-port');
    expect(stderr).toContain('--help');
  });

  test('ends in order when it is asked to, with its authority, and leaves no socket behind', async () => {
    const authority = gateway.authorityPid;
    const { code } = await gateway.stop();
    expect(code).toBe(0);
    await eventually(
      'the authority to be gone',
      () => isAlive(authority),
      (alive) => !alive,
    );
    expect(isAlive(ready.pid)).toBe(false);
    expect(await readdir(join(gateway.dataDir, 'run'))).toEqual(['gateway.lock']);
  });

  test('starts again with the same root, and remembers its devices', async () => {
    await gateway.restart();
    expect(gateway.ready.rootSha256).toBe(ready.rootSha256);
    expect(gateway.process.find('making root and intermediate')).toBeUndefined();
    await gateway.addDevice('remembered-1');
    await gateway.stop();
    await gateway.restart();
    expect(await gateway.device('remembered-1')).toMatchObject({ state: 'registered' });
  });
});
