import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { AuthorityProcess } from '#test/fixtures/processes/authority-process.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { portsThatStayFree } from '#test/fixtures/processes/free-ports.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { PROGRAMS, run } from '#test/fixtures/processes/program.ts';

describe('an authority on its own, and a gateway that is pointed to it', () => {
  let folder: string;
  let authority: AuthorityProcess;
  let gateway: GatewayProcess;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-authority-'));
    const [statusPort = 0] = await portsThatStayFree(1);
    authority = new AuthorityProcess(folder, `http://127.0.0.1:${statusPort}`);
    await authority.init('--trust-domain', 'plant.example', '--organization', 'Plant 7');
    await authority.start();
    gateway = await startGateway({ args: ['--ca-socket', authority.socket, '--status-port', String(statusPort)] });
  });
  afterAll(async () => {
    await gateway?.dispose();
    await authority?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('listens on a socket that is closed to other users', async () => {
    expect((await stat(authority.socket)).mode & 0o777).toBe(0o600);
  });

  test('has the only copy of its keys: the folder of the gateway holds none', async () => {
    expect(gateway.process.find('authority process ready')).toBeUndefined();
    await expect(stat(join(gateway.dataDir, 'ca', 'intermediate.key.pem'))).rejects.toThrow('ENOENT');
  });

  test('gives the gateway its certificates, which stand where everybody looks for them', async () => {
    const own = await readFile(join(authority.dir, 'root.pem'), 'utf8');
    expect((await readFile(gateway.ready.rootPem, 'utf8')).trim()).toBe(own.trim());
    const { stdout } = await gateway.command('ca', 'export');
    expect(stdout.trim()).toBe(own.trim());
    const { ok, checks } = await gateway.gatehouse<{ ok: boolean; checks: { ok: boolean }[] }>('doctor');
    expect(checks.filter((check) => !check.ok)).toEqual([]);
    expect(ok).toBe(true);
  });

  test('issues with the trust domain of its ceremony', async () => {
    const agent = new AgentProcess(gateway.folder, 'pump-1');
    await agent.enroll((await gateway.addDevice('pump-1')).joinUrl);
    expect((await agent.certificate()).uris).toEqual(['spiffe://plant.example/device/pump-1']);
  });

  test('writes what it signs into its own journal', async () => {
    const { serial } = parseCertificate((await enrollByHand(gateway, 'journaled-1')).der);
    expect(await readFile(join(authority.dir, 'journal.jsonl'), 'utf8')).toContain(serial);
  });

  test('may be killed and started again: the gateway finds it, nothing else has to happen', async () => {
    await authority.process.kill9();
    const readiness = async () => (await fetch(new URL(STATUS_PATHS.readyz, gateway.ready.status.url))).status;
    await eventually('not ready', readiness, (status) => status === 503);
    await authority.start();
    await eventually('ready again', readiness, (status) => status === 200);
    await enrollByHand(gateway, 'after-1');
  });

  test('is alone on its folder', async () => {
    const args = ['serve', '--dir', authority.dir, '--socket', join(folder, 'other.sock')];
    const { code, stderr } = await run(process.execPath, [PROGRAMS.authority, ...args]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/another|lock|runs/i);
  });

  test('is missed by a gateway that starts without it, which says so', async () => {
    const nowhere = ['--ca-socket', join(folder, 'nobody.sock'), '--data', join(folder, 'lonely')];
    const ports = ['--est-port', '0', '--mqtt-port', '0', '--status-port', '0', '--operator-port', '0'];
    const { code, stderr } = await run(process.execPath, [
      PROGRAMS.gateway,
      ...nowhere,
      '--host',
      '127.0.0.1',
      ...ports,
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/authority/);
  });
});
