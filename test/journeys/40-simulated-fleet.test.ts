import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeviceDetail, DeviceSummary } from '#gateway/contract/operator-api.ts';
import type { SimulationReport } from '#simulators/report/simulation-report.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { PROJECT_ROOT, run } from '#test/fixtures/processes/program.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';

const SIMULATE = `${PROJECT_ROOT}simulators/main.ts`;

async function simulate(...args: string[]): Promise<{ code: number; report: SimulationReport; stderr: string }> {
  const { code, stdout, stderr } = await run(process.execPath, [SIMULATE, '--json', ...args]);
  if (stdout === '') throw new Error(`no report: ${stderr}`);
  return { code, stderr, report: JSON.parse(stdout) as SimulationReport };
}

describe('a simulated fleet', () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.dispose());

  async function fleet(): Promise<DeviceDetail[]> {
    const devices = await gateway.operator.list<DeviceSummary>('listDevices');
    return Promise.all(devices.map(({ deviceId }) => gateway.device(deviceId)));
  }

  test('lives a whole life against a gateway that runs already', async () => {
    const { code, report } = await simulate('--gateway', gateway.dataDir, '--devices', '20', '--hold', '300ms');
    expect(report.phases.map(({ name, count, failed }) => [name, count, failed])).toEqual(
      ['register', 'enroll', 'connect', 'hold', 'reconnect', 'renew', 'end'].map((name) => [name, 20, 0]),
    );
    // The retained notice of revocations is subscribed to, as by an agent in the field.
    expect(report.crl?.told).toBeGreaterThanOrEqual(20);
    expect({ code, ok: report.ok, interrupted: report.interrupted }).toEqual({ code: 0, ok: true, interrupted: null });
    for (const { name, perSecond, latencyMs } of report.phases) {
      if (name === 'hold') continue;
      expect(perSecond).toBeGreaterThan(0);
      expect(latencyMs?.p99).toBeGreaterThanOrEqual(latencyMs?.p50 ?? Number.NaN);
    }

    // Not what the simulator says: what the gateway has recorded.
    const devices = await fleet();
    expect(devices).toHaveLength(20);
    for (const { state, certificates, notices } of devices) {
      expect(state).toBe('enrolled');
      expect(certificates.filter((certificate) => certificate.state === 'active')).toHaveLength(1);
      expect(certificates).toHaveLength(2);
      expect(notices.map(({ kind }) => kind)).toEqual(['renew']);
    }
  });

  test('is out of the books again when it was retired', async () => {
    const before = new Set((await fleet()).map(({ deviceId }) => deviceId));
    const found = ['--ready-file', join(gateway.folder, 'ready.json'), '--scenario', 'enroll', '--retire'];
    const { code } = await simulate(...found, '--devices', '5');
    expect(code).toBe(0);
    const own = (await fleet()).filter(({ deviceId }) => !before.has(deviceId));
    expect(own.map(({ state }) => state)).toEqual(Array(5).fill('retired'));
  });

  test('that is refused ends with 1 and tells the reason with the devices', async () => {
    const { code, report } = await simulate('--gateway', gateway.dataDir, '--devices', '3', '--group', 'nowhere');
    expect(code).toBe(1);
    expect(report.ok).toBe(false);
    expect(report.phases[0]).toMatchObject({ name: 'register', count: 0, failed: 3 });
    expect(report.phases[0]?.failures[0]).toMatchObject({ code: 'NOT_FOUND', count: 3 });
    expect(report.phases[0]?.failures[0]?.first[0]).toMatch(/^sim-/);
  });
});

describe('the simulator', () => {
  test('says what to do when no gateway is found', async () => {
    const { code, stdout, stderr } = await run(process.execPath, [SIMULATE, '--gateway', '/nonexistent']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('gatehouse serve --data DIR');
  });

  test('ended by Ctrl-C shows the results so far and leaves neither its gateway nor its folder behind', async () => {
    const simulator = new RunningProcess('simulator', [SIMULATE, '--devices', '5', '--hold', '10m']);
    const said = (word: string) => simulator.log.some(({ text }) => text.startsWith(word)) || undefined;
    await simulator.until('the hold phase', () => said('hold:'));
    const gatewayPid = await childOf(simulator.pid);
    const folder = await folderOf(gatewayPid);
    expect(existsSync(folder)).toBe(true);

    simulator.signal('SIGINT');
    expect(await simulator.ended).toMatchObject({ code: 130 });
    expect(simulator.stdout.some((line) => /^connect +5 +0 /.test(line))).toBe(true);
    expect(simulator.stdout.join('\n')).toContain('ended by Ctrl-C');
    expect(existsSync(folder)).toBe(false);
    expect(existsSync(`/proc/${gatewayPid}`)).toBe(false);
  });
});

/** The one process that a process has started. */
async function childOf(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return Number(children.trim().split(' ')[0]);
}

/** The temporary folder of a gateway, by its command line. */
async function folderOf(pid: number): Promise<string> {
  const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
  return dirname(args[args.indexOf('--data') + 1] ?? '');
}
