import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { startTpmPlant, type TpmPlant } from '#test/fixtures/tpm/tpm-plant.ts';
import { lacksTpmTls } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(lacksTpmTls())('a device whose key lives in its TPM', () => {
  let plant: TpmPlant;

  beforeAll(async () => {
    plant = await startTpmPlant();
  });
  afterEach(() => plant?.stopAgents());
  afterAll(() => plant?.dispose());

  test('goes on when the TPM was restarted in between', async () => {
    const { agent, tpm } = await plant.enroll('restarted');
    await agent.connect();
    await tpm.restart();
    const mark = agent.daemon.mark();
    agent.daemon.signal('SIGHUP');
    await agent.logged('connected', {}, mark);
  });

  test('ends with 75 for its supervisor when the connection to the TPM is broken for good, and works when started again', async () => {
    const { agent, tpm } = await plant.enroll('broken');
    const daemon = await agent.connect();
    await tpm.powerCut();
    daemon.signal('SIGHUP');
    await agent.logged('the connection to the TPM is broken');
    expect(await daemon.ended).toMatchObject({ code: 75 });
    // Without the TPM it says so, and makes no other key.
    const key = await agent.keyText();
    const ended = await agent.start().ended;
    expect(ended).toMatchObject({ code: 6 });
    expect(agent.daemon.told()).toContain('no TPM answers');
    expect(await agent.keyText()).toBe(key);
    await tpm.start();
    await agent.connect();
  });

  test('does not work with another TPM in its place, and says what to do', async () => {
    const { agent, tpm } = await plant.enroll('swapped');
    const other = await plant.maker.makeTpm();
    await other.stop();
    await tpm.stop();
    const impostor = new SoftwareTpm(other.stateDir, tpm.socket);
    await impostor.start();
    try {
      const key = await agent.keyText();
      expect(await agent.start().ended).toMatchObject({ code: 6 });
      expect(agent.daemon.told()).toContain('gatehouse device replace-hardware');
      expect(await agent.command(['renew'])).toMatchObject({ code: 6 });
      const check = await agent.command(['check']);
      expect(check.code).toBe(1);
      expect(check.stdout).toContain('failed  the key in the TPM can be used');
      expect(await agent.keyText()).toBe(key);
    } finally {
      await impostor.powerCut();
    }
    await tpm.start();
    await agent.connect();
  });

  test('is not locked out by three unclean power-offs', async () => {
    const { agent, tpm } = await plant.enroll('power-cuts');
    for (let cut = 1; cut <= 3; cut += 1) {
      const daemon = await agent.connect();
      await Promise.all([daemon.kill9(), tpm.powerCut()]);
      await tpm.start();
      expect(await tpm.lockoutCounter()).toBe(0);
    }
    await agent.connect();
    await agent.ok('renew');
  });
});
