import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(lacksTpmTls())('a device that shares its TPM with others', () => {
  let plant: TpmPlant;

  beforeAll(async () => {
    plant = await startTpmPlant();
  });
  afterEach(() => plant?.stopAgents());
  afterAll(() => plant?.dispose());

  test('names the cause when another program has taken every slot, and renews once there is one', async () => {
    const { agent, tpm } = await plant.enroll('no-slots');
    for (const name of ['a', 'b', 'c']) {
      await tpm.tool('tpm2_createprimary', '-Q', '-C', 'n', '-G', 'ecc256', '-c', `${name}.ctx`);
    }
    const { code, stderr } = await agent.command(['renew']);
    expect(code).toBe(6);
    expect(stderr).toContain('all slots of the TPM for loaded keys are taken');
    expect(stderr).toContain('next: end the program that keeps keys loaded');
    // Not ours to take away.
    expect(await tpm.handles('transient')).toHaveLength(3);
    await tpm.tool('tpm2_flushcontext', '-t');
    await agent.ok('renew');
  });

  test('is refused as a second device on the same TPM, while the first goes on', async () => {
    const { agent, tpm } = await plant.enroll('first');
    await agent.connect();
    const { joinUrl } = await plant.gateway.addDevice('second', 'endorsed');
    const second = await plant.agent('second').command(['enroll', joinUrl, '--key', 'tpm', '--tcti', tpm.tcti]);
    expect(second.code).toBe(3);
    expect(second.stderr).toMatch(/belongs to|another device/);
    const mark = agent.daemon.mark();
    agent.daemon.signal('SIGHUP');
    await agent.logged('connected', {}, mark);
    await agent.ok('renew');
  });
});
