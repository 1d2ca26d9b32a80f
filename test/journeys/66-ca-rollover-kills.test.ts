import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import type { CaRolloverStatus, CaRolloverStep } from '#gateway/contract/ca-rollover-api.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { PROGRAMS } from '#test/fixtures/processes/program.ts';
import { PublishingDevice } from '#test/fixtures/processes/publishing-fleet.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';

/** kill -9 of the gateway, of its authority and of the ceremony, in every step of replacing the root. */
describe('a CA is replaced while processes are killed', () => {
  let gateway: GatewayProcess;
  const fleet: PublishingDevice[] = [];

  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
    for (const deviceId of ['press-1', 'press-2', 'press-3']) {
      const device = new PublishingDevice(deviceId);
      await device.enroll(gateway, 'default');
      await device.start();
      fleet.push(device);
    }
  });
  afterAll(async () => {
    await Promise.all(fleet.map((device) => device.stop()));
    await gateway?.dispose();
  });

  const status = () => gateway.operator.call<CaRolloverStatus>('showCaRollover');
  const caDir = () => join(gateway.dataDir, 'ca');

  /** The step, and at a random moment of it the end of a process; then the step again, until it is done. */
  async function killedIn(
    step: 'announceCa' | 'activateCa' | 'taintCa' | 'retireCa',
    victim: 'gateway' | 'authority',
    isDone: (status: CaRolloverStatus) => boolean,
  ): Promise<void> {
    const asked = gateway.operator.call<CaRolloverStep>(step, { body: {} }).catch(() => undefined);
    await delay(Math.random() * 25);
    if (victim === 'gateway') {
      await gateway.kill9();
      await asked;
      await gateway.restart();
    } else {
      await gateway.killAuthority();
      await asked;
    }
    await eventually(
      `${step} after the end of the ${victim}`,
      async () => {
        const before = await status().catch(() => undefined);
        if (before !== undefined && !isDone(before))
          await gateway.operator.call(step, { body: {} }).catch(() => undefined);
        return status().catch(() => undefined);
      },
      (after) => after !== undefined && isDone(after),
      { everyMs: 200 },
    );
  }

  async function expectAllConnected(): Promise<void> {
    for (const { deviceId } of fleet)
      await gateway.deviceSoon(deviceId, 'connected', ({ session }) => session !== null);
  }

  test.each(['gateway', 'authority'] as const)('%s', async (victim) => {
    const generationsBefore = stateOf(await status(), 'retired');
    // The ceremony itself: whatever is there afterwards is whole, or not there.
    for (let attempt = 0; (await status()).phase !== 'prepared'; attempt += 1) {
      const ceremony = new RunningProcess('ceremony', [PROGRAMS.authority, 'prepare', '--dir', caDir(), '--root']);
      if (attempt < 3) {
        await delay(200 + Math.random() * 900);
        if (!ceremony.hasEnded) await ceremony.kill9();
      } else await ceremony.ended;
    }
    await killedIn('announceCa', victim, ({ phase }) => phase === 'announced');
    await expectAllConnected();
    await eventually('all know the new anchors', status, ({ withAnchors }) => withAnchors === 3);
    await killedIn('activateCa', victim, (after) => after.phase === 'activated');
    await expectAllConnected();
    await killedIn('taintCa', victim, (after) => after.phase === 'tainted');
    // A campaign that was cut off before it began is asked for again, as a person would.
    await eventually(
      'all have renewed',
      async () => {
        const now = await status();
        if (now.ready < 3) await gateway.operator.call('taintCa', { body: { perMinute: 6000 } }).catch(() => undefined);
        return now;
      },
      ({ ready }) => ready === 3,
      { everyMs: 500 },
    );
    await killedIn('retireCa', victim, (after) => after.phase === 'settled');
    await expectAllConnected();
    const after = await status();
    expect(stateOf(after, 'retired')).toBe(generationsBefore + 1);
    expect(stateOf(after, 'active')).toBe(1);

    const [root = Buffer.alloc(0)] = parsePem(await readFile(join(caDir(), 'root.pem'), 'utf8'), 'CERTIFICATE');
    for (const device of fleet) {
      await eventually(
        `${device.deviceId} trusts the new root alone`,
        () => device.anchors(),
        (anchors) => anchors.length === 1 && anchors[0]?.equals(root) === true,
      );
    }
    const another = new PublishingDevice(`after-${victim}`);
    await another.enroll(gateway, 'default');
    expect(parseCertificate(root).sha256).toBe(
      parseCertificate((await another.anchors())[0] ?? Buffer.alloc(0)).sha256,
    );
    // It never connects again, and would be waited for.
    await gateway.operator.call('retireDevice', { params: [another.deviceId], body: {} });
  });
});

/** How many intermediates are in this state. */
function stateOf({ generations }: CaRolloverStatus, state: string): number {
  return generations.filter((one) => one.kind === 'intermediate' && one.state === state).length;
}
