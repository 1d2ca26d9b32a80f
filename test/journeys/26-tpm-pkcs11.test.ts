import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import type { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { ResourceManager } from '#test/fixtures/tpm/resource-manager.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksPkcs11 } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(await lacksPkcs11())('a device with a TPM, on a system whose OpenSSL has no provider for it', () => {
  let plant: TpmPlant;
  let tpm: SoftwareTpm;
  let manager: ResourceManager;
  let pump: AgentProcess;
  const providerBefore = process.env['GATEHOUSE_TPM2_PROVIDER'];

  beforeAll(async () => {
    process.env['GATEHOUSE_TPM2_PROVIDER'] = '/nonexistent/tpm2.so';
    plant = await startTpmPlant();
    tpm = await plant.maker.makeTpm();
    manager = await ResourceManager.start(tpm);
    pump = plant.agent('pump-17');
    const { joinUrl } = await plant.gateway.addDevice('pump-17', 'endorsed');
    await pump.enroll(joinUrl, '--key', 'tpm', '--tcti', manager.tcti);
  });
  afterEach(() => pump.stop());
  afterAll(async () => {
    if (providerBefore === undefined) delete process.env['GATEHOUSE_TPM2_PROVIDER'];
    else process.env['GATEHOUSE_TPM2_PROVIDER'] = providerBefore;
    await plant?.stopAgents();
    await manager?.stop();
    await plant?.dispose();
  });

  test('has enrolled with the proof of its TPM, and was let in over mutual TLS', async () => {
    expect(readProofLevel(await pump.certificate())).toBe('tpm-endorsed');
    expect(await pump.keyText()).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----/);
    expect(await plant.gateway.device('pump-17')).toMatchObject({ state: 'enrolled', proofLevel: 'tpm-endorsed' });
  });

  test('says by which way TLS uses its key, and finds nothing wrong', async () => {
    expect(await pump.status()).toMatchObject({ exitCode: 0, keyProvider: 'tpm', tlsKeyAccess: 'pkcs11' });
    expect((await pump.ok('status')).stdout).toContain('in TLS by pkcs11');
    const { code, stdout } = await pump.command(['check']);
    expect({ code, stdout }).toMatchObject({ code: 0 });
    expect(stdout).toMatch(/PKCS#11: engine .*pkcs11\.so, module .*libtpm2_pkcs11\.so/);
    expect((await stat(join(pump.stateDir, 'pkcs11'))).mode & 0o777).toBe(0o700);
  });

  test('renews through the running agent, which restarts in place to see the new key', async () => {
    const before = await pump.certificate();
    const daemon = await pump.connect('--hook', 'printenv GATEHOUSE_SERIAL > "$GATEHOUSE_STATE/$GATEHOUSE_CHANGED"');
    const { pid } = daemon;
    expect(await pump.status()).toMatchObject({ running: true, connected: true, tlsKeyAccess: 'pkcs11' });
    const { stdout } = await pump.ok('renew', '--json');
    const after = await pump.certificate();
    const renewed = { oldSerial: before.serial, newSerial: after.serial, attemptId: expect.stringMatching(/^a-/) };
    expect(JSON.parse(stdout)).toEqual(renewed);
    expect(after.publicKey).not.toEqual(before.publicKey);
    expect(readProofLevel(after)).toBe('tpm-endorsed');
    await daemon.logged('connected', { serial: after.serial });
    await daemon.logged('hook ended', { changed: 'certificate', exitCode: 0 });
    expect(await readFile(join(pump.stateDir, 'certificate'), 'utf8')).toBe(`${after.serial}\n`);
    expect(daemon.pid).toBe(pid);
    expect(daemon.hasEnded).toBe(false);
    const status = await pump.status();
    expect(status).toMatchObject({ connected: true, lastError: null, certificate: { serial: after.serial } });
    await plant.gateway.deviceSoon('pump-17', 'a session', ({ session }) => session !== null);
  });

  test('renews without a running agent, in one command', async () => {
    const before = await pump.certificate();
    await pump.ok('renew');
    await pump.ok('renew');
    expect((await pump.certificate()).publicKey).not.toEqual(before.publicKey);
    // One generation is kept behind the current one; the store of PKCS#11 holds no other keys.
    const generations = (await readdir(join(pump.stateDir, 'generations'))).filter((name) => !name.startsWith('.'));
    expect(generations).toHaveLength(2);
    const linked = JSON.parse(await readFile(join(pump.stateDir, 'pkcs11', 'linked.json'), 'utf8')) as string[];
    expect(linked).toHaveLength(2);
  });

  test('ends with 75 for its supervisor when the resource manager went, and works when started again', async () => {
    const daemon = await pump.connect();
    await manager.restart(tpm);
    daemon.signal('SIGHUP');
    await pump.logged('the connection to the TPM is broken');
    expect(await daemon.ended).toMatchObject({ code: 75 });
    await pump.connect();
  });

  test('is not locked out by three unclean power-offs', async () => {
    for (let cut = 1; cut <= 3; cut += 1) {
      const daemon = await pump.connect();
      await Promise.all([daemon.kill9(), tpm.powerCut()]);
      await tpm.start();
      await manager.restart(tpm);
      expect(await tpmLockout()).toBe(0);
    }
    await pump.connect();
  });

  test('has no other way when the operator names one', async () => {
    process.env['GATEHOUSE_TPM_TLS'] = 'provider';
    try {
      const { code, stdout } = await pump.command(['check']);
      expect(code).toBe(1);
      expect(stdout).toContain('apt-get install tpm2-openssl');
      expect(stdout).not.toContain('PKCS#11');
      expect(await pump.command(['renew'])).toMatchObject({ code: 6 });
      expect(await pump.status()).toMatchObject({ tlsKeyAccess: null });
    } finally {
      delete process.env['GATEHOUSE_TPM_TLS'];
    }
  });

  /** Through the resource manager: it is the only one who talks to the TPM itself. */
  async function tpmLockout(): Promise<number> {
    const { stdout } = await manager.tool('tpm2_getcap', 'properties-variable');
    return Number(/TPM2_PT_LOCKOUT_COUNTER:\s*(0x[0-9a-f]+)/i.exec(stdout)?.[1]);
  }
});
