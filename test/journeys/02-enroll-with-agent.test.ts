import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import type { AuditEvent, DeviceAdded } from '#gateway/contract/operator-api.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';

describe('a device enrolls with the agent', () => {
  let gateway: GatewayProcess;
  let added: DeviceAdded;
  let pump: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway();
    pump = new AgentProcess(gateway.folder, 'pump-17');
    added = await gateway.addDevice('pump-17');
  });
  afterAll(() => gateway?.dispose());

  test('and is told each step, its attempt and what to do next', async () => {
    const { stdout, stderr } = await pump.enroll(added.joinUrl);
    expect(stderr.match(/✓ [1-7]\/7/g)).toHaveLength(7);
    expect(stderr).toContain('next: gatehouse-agent run');
    const [, attemptId] = /attempt (a-[0-9a-f]{16})/.exec(stdout) ?? [];
    expect(attemptId).toBeDefined();
    const audited = await gateway.operator.list<AuditEvent>('listAudit', { attemptId });
    expect(audited.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['enrollment.approved', 'certificate.issued', 'certificate.activated']),
    );
    // Not the secret, in what was said or written.
    expect(stdout + stderr).not.toContain(added.ticket);
  });

  test('and has an identity that is its record, not its wish', async () => {
    const certificate = await pump.certificate();
    expect(certificate.uris).toEqual(['spiffe://gatehouse.internal/device/pump-17']);
    const device = await gateway.device('pump-17');
    expect(device).toMatchObject({ state: 'enrolled', proofLevel: 'software', group: 'default' });
    expect(device.certificates).toEqual([
      expect.objectContaining({ serial: certificate.serial, state: 'active', sha256: certificate.sha256 }),
    ]);
  });

  test('and keeps key and certificate where others look for them', async () => {
    expect((await stat(pump.path('current/key.pem'))).mode & 0o077).toBe(0);
    const chain = parsePem(await readFile(pump.path('current/certificate.pem'), 'utf8'), 'CERTIFICATE');
    const intermediate = await readFile(join(gateway.dataDir, 'ca', 'intermediate.pem'), 'utf8');
    expect(chain.map((der) => parseCertificate(der).sha256).slice(1)).toEqual(
      parsePem(intermediate, 'CERTIFICATE').map((der) => parseCertificate(der).sha256),
    );
    const trusted = parsePem(await readFile(pump.path('trust.pem'), 'utf8'), 'CERTIFICATE');
    expect(trusted.map((der) => parseCertificate(der).sha256)).toEqual([gateway.ready.rootSha256]);
  });

  test('and says so in its status', async () => {
    const certificate = await pump.certificate();
    expect(await pump.status()).toMatchObject({
      exitCode: 0,
      deviceId: 'pump-17',
      state: 'enrolled',
      connected: false,
      certificate: { serial: certificate.serial, notAfter: certificate.notAfter },
      nextRenewalAt: expect.any(Number),
      keyProvider: 'software',
      proofLevel: 'software',
    });
    expect((await pump.command(['check'])).code).toBe(0);
  });

  test('and finds its ticket spent the second time', async () => {
    const other = new AgentProcess(join(gateway.folder, 'thief'), 'pump-17');
    const { code, stderr } = await other.command(['enroll', added.joinUrl]);
    expect(code).toBe(3);
    expect(stderr).toContain('TICKET_SPENT');
    expect(await gateway.device('pump-17')).toMatchObject({ state: 'enrolled' });
  });

  test('and does nothing when it is enrolled already', async () => {
    const before = await pump.certificate();
    const { stdout } = await pump.enroll(added.joinUrl);
    expect(stdout).toContain('already enrolled');
    expect((await pump.certificate()).serial).toBe(before.serial);
  });

  test('but sends no ticket to a gateway whose root is another one', async () => {
    const valve = new AgentProcess(gateway.folder, 'valve-1');
    const { joinUrl, ticket } = await gateway.addDevice('valve-1');
    const mark = gateway.mark();
    const { code, stderr } = await valve.command(['enroll', joinUrl.replace(/[0-9a-f]{64}$/, 'ab'.repeat(32))]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/fingerprint|root/);
    // The right URL shows that nothing was used up, and that nothing arrived before.
    await valve.enroll(joinUrl);
    const attempts = gateway.process.log.slice(mark).filter(({ fields }) => fields['deviceId'] === 'valve-1');
    expect(attempts.filter(({ message }) => /refused/.test(message))).toEqual([]);
    expect(gateway.process.log.some(({ text }) => text.includes(ticket))).toBe(false);
  });

  test('but with wrong words is told what is wrong before anything happens', async () => {
    const nobody = new AgentProcess(gateway.folder, 'nobody');
    expect(await nobody.command(['enroll', 'http://127.0.0.1/'])).toMatchObject({ code: 2 });
    expect(await nobody.command(['run'])).toMatchObject({ code: 5 });
    const unreachable = added.joinUrl.replace(/:\d+\//, ':9/');
    expect(await nobody.command(['enroll', unreachable])).toMatchObject({ code: 4 });
    expect(await nobody.status()).toMatchObject({ exitCode: 5, state: 'not-enrolled', certificate: null });
  });

  test('with each kind of key it can make', async () => {
    for (const kind of ['ec-p384', 'ed25519', 'rsa-2048']) {
      const agent = new AgentProcess(gateway.folder, kind);
      await agent.enroll((await gateway.addDevice(kind)).joinUrl, '--algorithm', kind);
      expect(await gateway.device(kind), kind).toMatchObject({ state: 'enrolled' });
    }
  });

  test('unless its group asks for more than software', async () => {
    await gateway.addGroup('vault', { proof: 'tpm' });
    const agent = new AgentProcess(gateway.folder, 'safe-1');
    const { joinUrl } = await gateway.addDevice('safe-1', 'vault');
    const { code, stderr } = await agent.command(['enroll', joinUrl]);
    expect(code).toBe(3);
    expect(stderr).toContain('ATTESTATION_REQUIRED');
  });
});
