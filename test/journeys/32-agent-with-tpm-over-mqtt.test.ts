import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import { blockEst, claimFor } from '#test/fixtures/processes/agent-detours.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(lacksTpmTls())('an agent whose key lives in its TPM', () => {
  let plant: TpmPlant;
  beforeAll(async () => {
    plant = await startTpmPlant();
  });
  afterAll(() => plant?.dispose());

  test('proves that over MQTT, at enrollment and at renewal', async () => {
    const tpm = await plant.maker.makeTpm();
    await plant.gateway.addDevice('sealed-1', 'endorsed');
    const sealed = plant.agent('sealed-1');
    const claim = await claimFor(plant.gateway, 'sealed-1');
    await sealed.ok('enroll', '--via', 'mqtt', claim, '--key', 'tpm', '--tcti', tpm.tcti, '--renew-via', 'mqtt');
    expect(readProofLevel(await sealed.certificate())).toBe('tpm-endorsed');
    await blockEst(sealed);
    const before = await sealed.certificate();
    await sealed.ok('renew');
    const after = await sealed.certificate();
    expect(after.serial).not.toBe(before.serial);
    expect(readProofLevel(after)).toBe('tpm-endorsed');
  });
});
