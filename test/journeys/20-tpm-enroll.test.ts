import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(lacksTpmTls())('a device enrolls with a key that lives in its TPM', () => {
  let plant: TpmPlant;
  let tpm: SoftwareTpm;
  let pump: AgentProcess;
  let added: DeviceAdded;

  beforeAll(async () => {
    plant = await startTpmPlant();
    tpm = await plant.maker.makeTpm();
    added = await plant.gateway.addDevice('pump-17', 'endorsed');
    pump = plant.agent('pump-17');
  });
  afterAll(() => plant?.dispose());

  test('and not with one in a file, where the group demands the proof', async () => {
    const software = new AgentProcess(plant.gateway.folder, 'pump-17-software');
    const { code, stderr } = await software.command(['enroll', added.joinUrl]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/attest|proof|TPM/i);
  });

  test('and proves to the gateway whose TPM it is', async () => {
    const start = performance.now();
    const { stdout } = await pump.enroll(added.joinUrl, '--key', 'tpm', '--tcti', tpm.tcti, '--no-confirm');
    console.info(
      `attested enrollment on a software TPM, process start to certificate stored: ${Math.round(performance.now() - start)} ms`,
    );
    expect(stdout).toContain('pump-17 is enrolled');
    expect(readProofLevel(await pump.certificate())).toBe('tpm-endorsed');
    // The same again confirms it.
    await pump.enroll(added.joinUrl, '--key', 'tpm');
    expect(await plant.gateway.device('pump-17')).toMatchObject({ state: 'enrolled', proofLevel: 'tpm-endorsed' });
  });

  test('and keeps nothing on its disk that is a key', async () => {
    const key = await readFile(pump.path('current/key.pem'), 'utf8');
    expect(key).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----/);
    expect(key).not.toContain('BEGIN PRIVATE KEY');
  });

  test('and says in its status where the key is and what it proves', async () => {
    expect(await pump.status()).toMatchObject({
      exitCode: 0,
      state: 'enrolled',
      keyProvider: 'tpm',
      proofLevel: 'tpm-endorsed',
      tlsKeyAccess: 'provider',
    });
  });

  test('and finds nothing wrong when it checks itself', async () => {
    const { code, stdout } = await pump.command(['check']);
    expect({ code, stdout }).toMatchObject({ code: 0 });
    expect(stdout).toContain('carries an endorsement certificate');
    expect(stdout).toMatch(/OpenSSL provider is \d+\.\d+/);
  });

  test('and connects with it over mutual TLS, and renews with a new key in the TPM', async () => {
    const before = await pump.certificate();
    const keyBefore = await readFile(pump.path('current/key.pem'), 'utf8');
    await pump.connect();
    await plant.gateway.deviceSoon('pump-17', 'a session', ({ session }) => session !== null);
    await pump.ok('renew');
    const after = await pump.certificate();
    expect(after.publicKey).not.toEqual(before.publicKey);
    expect(await readFile(pump.path('current/key.pem'), 'utf8')).not.toBe(keyBefore);
    expect(readProofLevel(after)).toBe('tpm-endorsed');
    await pump.daemon.logged('connected', { serial: after.serial });
    // One object for the one TLS context; the one before has given its slot back.
    expect((await tpm.handles('transient')).length).toBeLessThanOrEqual(2);
  });

  test('and goes on over a reset of the TPM, which loses all loaded keys', async () => {
    const mark = pump.daemon.mark();
    await tpm.tool('tpm2_flushcontext', '-t');
    pump.daemon.signal('SIGHUP');
    await pump.logged('connected', {}, mark);
  });

  test('and leaves no object behind when it stops', async () => {
    await pump.stop();
    expect(await tpm.handles('transient')).toEqual([]);
    expect(await tpm.handles('saved-session')).toEqual([]);
  });
});
