import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { canFakeClocks, FakeClock } from '#test/fixtures/processes/fake-clock.ts';
import { temporaryFolder } from '#test/fixtures/processes/temporary-folder.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

const DAY_MS = 24 * 3600_000;

describe.skipIf(!canFakeClocks || lacksTpmTls())('devices with a TPM that come back after they have expired', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let clock: FakeClock;
  let plant: TpmPlant;
  let pump: AgentProcess;
  let moved: AgentProcess;

  /** Their certificates lived for seven days; ten have passed. */
  beforeAll(async () => {
    folder = await temporaryFolder();
    clock = new FakeClock(folder.path, 'everybody');
    plant = await startTpmPlant(
      { staysReachable: true, env: clock.env },
      { graceSeconds: 60 * 86_400, graceDecision: 'auto' },
    );
    ({ agent: pump } = await plant.enroll('pump-17'));
    ({ agent: moved } = await plant.enroll('pump-18'));
    await plant.gateway.stop();
    clock.runsAheadBy(10 * DAY_MS);
    await plant.gateway.restart();
  });
  afterAll(async () => {
    await plant?.dispose();
    await folder?.remove();
  });

  test('prove it again and re-enroll by themselves', async () => {
    const before = await pump.certificate();
    expect(await pump.status()).toMatchObject({ state: 'expired' });
    await pump.connect();
    const after = await pump.certificate();
    expect(after.publicKey).not.toEqual(before.publicKey);
    expect(await pump.status()).toMatchObject({ state: 'enrolled', proofLevel: 'tpm-endorsed' });
    const device = await plant.gateway.deviceSoon('pump-17', 'the session', ({ session }) => session !== null);
    expect(device).toMatchObject({ proofLevel: 'tpm-endorsed', session: { serial: after.serial } });
    const audit = await plant.gateway.gatehouse<{ action: string; detail: string }[]>(
      'audit',
      'list',
      '--device',
      'pump-17',
    );
    const approved = audit.find(({ action }) => action === 'enrollment.approved');
    expect(approved?.detail).toMatch(/expired lane, score \d+: .*proof tpm-endorsed/);
  });

  test('get nothing where the TPM is another one', async () => {
    const record = join(moved.stateDir, 'tpm.json');
    const { tcti } = await plant.maker.makeTpm();
    await writeFile(record, JSON.stringify({ ...(JSON.parse(await readFile(record, 'utf8')) as object), tcti }));
    const { code } = await moved.command(['run']);
    expect(code).toBe(6);
    expect(await plant.gateway.device('pump-18')).toMatchObject({ certificates: [{ state: 'expired' }] });
  });
});
