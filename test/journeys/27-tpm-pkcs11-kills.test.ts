import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PROGRAMS } from '#test/fixtures/processes/program.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';
import { ResourceManager } from '#test/fixtures/tpm/resource-manager.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksPkcs11 } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(await lacksPkcs11())('a device whose TLS uses the TPM by PKCS#11', () => {
  let plant: TpmPlant;
  let manager: ResourceManager;
  /** Milliseconds that an enrollment takes that is left alone, on this machine now. */
  let whole: number;
  const before = process.env['GATEHOUSE_TPM_TLS'];

  beforeAll(async () => {
    process.env['GATEHOUSE_TPM_TLS'] = 'pkcs11';
    plant = await startTpmPlant();
    // One after the other: programs find theirs by the one environment.
    whole = await enrollmentMs();
    manager = await ResourceManager.start(await plant.maker.makeTpm());
  });
  afterAll(async () => {
    if (before === undefined) delete process.env['GATEHOUSE_TPM_TLS'];
    else process.env['GATEHOUSE_TPM_TLS'] = before;
    await plant?.stopAgents();
    await manager?.stop();
    await plant?.dispose();
  });

  test('has a working identity after an enrollment and renewals that were killed at any moment', async () => {
    const agent = plant.agent('pump-17');
    const { joinUrl } = await plant.gateway.addDevice('pump-17', 'endorsed');
    const enroll = ['enroll', joinUrl, '--key', 'tpm', '--tcti', manager.tcti];
    let killed = 0;
    // Of an enrollment: while the store is made, and while the key is linked. Then the parts of a renewal.
    for (const [args, share] of [
      [enroll, 0.7],
      [enroll, 0.35],
      [enroll, 0.5],
      [['renew'], 0.45],
      [['renew'], 0.55],
      [['renew'], 0.7],
    ] as const) {
      const program = new RunningProcess('agent', [PROGRAMS.agent, ...args, '--state', agent.stateDir]);
      if ((await Promise.race([program.ended, delay(share * whole)])) !== undefined) continue;
      killed += 1;
      await program.kill9();
    }
    expect(killed).toBeGreaterThan(0);
    await agent.enroll(joinUrl, '--key', 'tpm', '--tcti', manager.tcti);
    await agent.connect();
    await agent.ok('renew');
    expect(await agent.status()).toMatchObject({ connected: true, tlsKeyAccess: 'pkcs11', lastError: null });
  });

  /** Of another device, with another TPM. */
  async function enrollmentMs(): Promise<number> {
    const own = await ResourceManager.start(await plant.maker.makeTpm());
    try {
      const { joinUrl } = await plant.gateway.addDevice('pump-16', 'endorsed');
      const began = performance.now();
      await plant.agent('pump-16').enroll(joinUrl, '--key', 'tpm', '--tcti', own.tcti);
      return performance.now() - began;
    } finally {
      await own.stop();
    }
  }
});
