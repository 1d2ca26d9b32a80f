import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeviceDetail, DeviceSummary, TpmRootSummary } from '#gateway/contract/operator-api.ts';
import type { SimulationReport } from '#simulators/report/simulation-report.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { PROJECT_ROOT, run } from '#test/fixtures/processes/program.ts';

const SIMULATE = `${PROJECT_ROOT}simulators/main.ts`;
const DEVICES = 12;

describe('a simulated fleet whose keys live in TPMs', () => {
  let gateway: GatewayProcess;
  let maker: string;
  beforeAll(async () => {
    gateway = await startGateway();
    maker = join(gateway.folder, 'maker');
    await gateway.addGroup('endorsed', { proof: 'tpm-endorsed' });
  });
  afterAll(() => gateway.dispose());

  const simulate = (...more: string[]) => {
    const fixed = ['--json', '--gateway', gateway.dataDir, '--group', 'endorsed', '--hold', '200ms'];
    return run(process.execPath, [SIMULATE, ...fixed, ...more]);
  };
  const inTpm = () => ['--key', 'tpm', '--maker', maker];
  const devices = () => gateway.operator.list<DeviceSummary>('listDevices');

  test('is not let loose on a gateway that does not trust their maker; the root is written for its operator', async () => {
    const { code, stdout, stderr } = await simulate(...inTpm(), '--devices', '3');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    const root = join(maker, 'root.pem');
    expect(stderr).toContain(`does not trust the maker of the simulated TPMs; its root was written to ${root}`);
    expect(stderr).toContain(`npx gatehouse tpm root add ${root} --data ${gateway.dataDir}`);
    expect(existsSync(root)).toBe(true);
    expect(await gateway.operator.list<TpmRootSummary>('listTpmRoots')).toEqual([]);
    expect(await devices()).toEqual([]);
  });

  test('is refused, device by device, with keys in files where the group demands the proof', async () => {
    const { code, stdout } = await simulate('--devices', '2', '--scenario', 'enroll', '--retire');
    const report = JSON.parse(stdout) as SimulationReport;
    expect({ code, attested: report.attested }).toEqual({ code: 1, attested: null });
    expect(report.phases.find(({ name }) => name === 'enroll')).toMatchObject({ count: 0, failed: 2 });
  });

  test.each(['ec-p256', 'rsa-2048'])('attests, connects and renews with endorsement keys of %s', async (kind) => {
    await gateway.gatehouse('tpm', 'root', 'add', join(maker, 'root.pem'));
    const before = new Set((await devices()).map(({ deviceId }) => deviceId));
    const count = String(DEVICES);
    const { code, stdout } = await simulate(...inTpm(), '--endorsement-key', kind, '--devices', count);
    const report = JSON.parse(stdout) as SimulationReport;
    expect(report.phases.map(({ name, count, failed }) => [name, count, failed])).toEqual(
      ['equip', 'register', 'enroll', 'connect', 'hold', 'reconnect', 'renew', 'end'].map((name) => [name, DEVICES, 0]),
    );
    expect({ code, key: report.key }).toEqual({ code: 0, key: 'tpm' });
    expect(report.attested).toMatchObject({ endorsementKey: kind });
    expect(report.attested?.perSecond).toBeGreaterThan(0);

    // Not what the simulator says: what the gateway has recorded.
    const own = (await devices()).filter(({ deviceId }) => !before.has(deviceId));
    expect(own).toHaveLength(DEVICES);
    const details: DeviceDetail[] = await Promise.all(own.map(({ deviceId }) => gateway.device(deviceId)));
    for (const { state, proofLevel, certificates } of details) {
      expect({ state, proofLevel }).toEqual({ state: 'enrolled', proofLevel: 'tpm-endorsed' });
      expect(certificates).toHaveLength(2);
    }
  });
});

describe('the simulator with a gateway of its own', () => {
  test('has it trust the maker, and tells attested enrollments per second', async () => {
    const args = [SIMULATE, '--key', 'tpm', '--devices', '6', '--scenario', 'enroll'];
    const { code, stdout } = await run(process.execPath, args);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^equip +6 +0 /m);
    expect(stdout).toMatch(/^attested enrollments \(TPMs in memory, EK ec-p256\): \d+\.\d\/s/m);
  });
});
