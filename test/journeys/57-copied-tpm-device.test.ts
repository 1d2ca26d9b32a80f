import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { IdentityAlarmDetail } from '#gateway/contract/alarm-api.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

/** Exit code of the agent: the TPM cannot be used. */
const TPM_UNUSABLE = 6;

describe.skipIf(lacksTpmTls())('the files of a device whose key lives in its TPM are copied', () => {
  let plant: TpmPlant;
  let pump: AgentProcess;
  beforeAll(async () => {
    plant = await startTpmPlant();
    ({ agent: pump } = await plant.enroll('pump-17'));
    await pump.connect();
  });
  afterAll(() => plant?.dispose());

  const alarms = () =>
    plant.gateway.gatehouse<IdentityAlarmDetail[]>('alarm', 'list', '--device', 'pump-17', '--state', 'all');

  test('to a place with another TPM: the copy cannot even connect, and the original is not disturbed', async () => {
    const copy = new AgentProcess(join(plant.gateway.folder, 'elsewhere'), 'pump-17');
    await cp(pump.stateDir, copy.stateDir, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.endsWith('.sock'),
    });
    const record = join(copy.stateDir, 'tpm.json');
    const { tcti } = await plant.maker.makeTpm();
    await writeFile(record, JSON.stringify({ ...(JSON.parse(await readFile(record, 'utf8')) as object), tcti }));
    const mark = plant.gateway.mark();
    const { code, stderr } = await copy.command(['run']);
    expect({ code, stderr }).toMatchObject({ code: TPM_UNUSABLE });
    expect(plant.gateway.process.log.slice(mark).filter(({ message }) => message === 'session opened')).toEqual([]);
    expect(await pump.status()).toMatchObject({ state: 'enrolled', connected: true });
    expect(await alarms()).toEqual([]);
  });

  test('and its own are set back to an earlier day: its TPM shows that it is the original, and it gets a new key', async () => {
    await pump.stop();
    const before = await pump.certificate();
    await writeFile(join(pump.stateDir, 'reports.json'), JSON.stringify({ version: 1, count: 0 }));
    const mark = plant.gateway.mark();
    await pump.connect();
    await plant.gateway.logged('identity alarm', { deviceId: 'pump-17', kind: 'count went back' }, mark);
    await plant.gateway.logged('device released from quarantine', { deviceId: 'pump-17' }, mark);
    expect(await alarms()).toMatchObject([
      { kind: 'count went back', state: 'resolved', resolvedBy: 'gateway', decision: expect.stringContaining('TPM') },
    ]);
    await pump.logged('certificate renewed', { oldSerial: before.serial });
    const device = await plant.gateway.deviceSoon(
      'pump-17',
      'the new key in use',
      ({ session, state }) => state === 'enrolled' && session !== null && session.serial !== before.serial,
    );
    expect(device.proofLevel).toBe('tpm-endorsed');
    await pump.statusSoon('the end of the quarantine', ({ state }) => state === 'enrolled');
  });
});
