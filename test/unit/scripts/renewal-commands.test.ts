import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { RenewalCampaignDetail, RenewalCampaignDevice, RenewalPlan } from '#gateway/contract/renewal-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { formatHistogram, formatSpan } from '#scripts/command-line/show-renewal-plan.ts';
import { type OperatorGateway, openOperatorGateway } from '#test/fixtures/doors/operator-gateway.ts';
import { PROGRAMS, run } from '#test/fixtures/processes/program.ts';

const { npm_command: _, ...env } = process.env;
const actor = 'local:tester';
const NOW = Date.now();
const HOUR = 3_600_000;

const campaign: RenewalCampaignDetail = {
  id: 'rc-0123456789abcdef',
  group: 'line-3',
  reason: 'new intermediate',
  state: 'running',
  createdAt: NOW,
  createdBy: actor,
  startsAt: NOW,
  endsAt: NOW + HOUR,
  perMinute: 120,
  abortPercent: 5,
  giveUpSeconds: 86_400,
  lastTurnAt: NOW,
  givesUpAt: null,
  finishedAt: null,
  detail: null,
  devices: { waiting: 90, ordered: 4, renewed: 5, failed: 1, unreached: 0, skipped: 0 },
};

const plan: RenewalPlan = {
  group: null,
  at: NOW,
  active: 1200,
  due: 3,
  issuesPerSecond: 80,
  isRateMeasured: true,
  plannedPerSecond: 40,
  secondsToReplaceAll: 30,
  widthMs: 6 * HOUR,
  forecast: [0, 40, 80, 1].map((renewals, bar) => ({ from: NOW + bar * 6 * HOUR, renewals })),
  atRisk: [
    {
      deviceId: 'pump-17',
      serial: '4f21',
      notAfter: NOW + 10.5 * HOUR,
      lastSeen: NOW - 40.5 * HOUR,
      usualGapMs: 72 * HOUR,
      expectedBack: NOW + 31.5 * HOUR,
    },
  ],
  examined: 1200,
  isComplete: true,
};

const failed = {
  deviceId: 'pump-17',
  serial: '4f21',
  slotAt: NOW - 60_000,
  state: 'failed',
  result: 'refused',
  detail: 'refused: KEY_NOT_ALLOWED in attempt a-0123456789abcdef',
  updatedAt: NOW - 60_500,
} as const;

/** By the state in which they are listed. */
const away: Record<string, RenewalCampaignDevice[]> = {
  unreached: [{ ...failed, deviceId: 'pump-18', state: 'unreached', result: 'offline', detail: 'never connected' }],
  ordered: [
    { ...failed, deviceId: 'pump-19', state: 'ordered', result: 'not acknowledged', detail: null },
    { ...failed, deviceId: 'pump-20', state: 'ordered', result: 'under way', detail: null },
  ],
};

describe('`gatehouse renewal`', () => {
  let folder: string;
  let gateway: OperatorGateway;
  let current: RenewalCampaignDetail;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'renewal-commands-'));
    gateway = await openOperatorGateway({
      planRenewals: () => plan,
      startRenewals: () => current,
      listRenewals: () => ({ items: [current], nextCursor: null }),
      showRenewals: () => current,
      listRenewalDevices: ({ state }: { state: string }) => ({
        items: state === 'failed' ? [failed] : away[state],
        nextCursor: null,
      }),
      pauseRenewals: () => ({ ...current, state: 'paused' }),
      resumeRenewals: () => current,
      abortRenewals: () => ({ ...current, state: 'aborted' }),
      retryRenewals: () => current,
    });
    await mkdir(join(folder, 'data', DATA_FOLDER.run), { recursive: true });
    const runFile = { pid: process.pid, operatorSocket: gateway.socketPath };
    await writeFile(join(folder, 'data', DATA_FOLDER.runFile), JSON.stringify(runFile));
  });
  afterAll(async () => {
    await gateway.close();
    await rm(folder, { recursive: true });
  });
  beforeEach(() => {
    gateway.calls.length = 0;
    delete gateway.failWith.error;
    current = campaign;
  });

  const gatehouse = (...args: string[]) =>
    run(process.execPath, [PROGRAMS.gatehouse, '--data', join(folder, 'data'), 'renewal', ...args], { env });

  test('plan shows a bar for each span, who will be offline, and the time for all', async () => {
    const { code, stdout } = await gatehouse('plan', '--group', 'line-3', '--within', '1d');
    expect(code).toBe(0);
    expect(gateway.calls).toEqual([{ name: 'planRenewals', input: { group: 'line-3', withinSeconds: 86_400 } }]);
    expect(stdout).toContain('1200');
    expect(stdout).toMatch(/to replace all\s+30 s/);
    expect(stdout.split('\n').filter((line) => line.includes('█'))).toHaveLength(2);
    expect(stdout).toMatch(/pump-17\s.*in 10 h.*40 h ago.*3 d.*in 31 h/);
  });

  test('plan --json is the answer as it is', async () => {
    const { stdout } = await gatehouse('plan', '--json');
    expect(JSON.parse(stdout)).toEqual(plan);
  });

  test('start passes on what was asked for and says how to go on', async () => {
    const { code, stderr } = await gatehouse(
      ...'start --group line-3 --within 1h --rate 120 --abort-at 5% --give-up-after 7d'.split(' '),
      '--reason',
      'new intermediate',
    );
    expect(code).toBe(0);
    const input = {
      group: 'line-3',
      reason: 'new intermediate',
      withinSeconds: 3600,
      perMinute: 120,
      abortPercent: 5,
      giveUpSeconds: 604_800,
      actor,
    };
    expect(gateway.calls).toEqual([{ name: 'startRenewals', input }]);
    expect(stderr).toContain('100 devices');
    expect(stderr).toContain(`gatehouse renewal status ${campaign.id}`);
  });

  test.each([
    ['no devices named', ['start']],
    ['a group and all', ['start', '--group', 'a', '--all']],
    ['a percentage of more than all', ['start', '--all', '--abort-at', '101%']],
    ['a rate of nothing', ['start', '--all', '--rate', '0']],
    ['a state that is none', ['status', '--state', 'odd']],
  ])('wrong usage ends with 2: %s', async (_name, args) => {
    expect((await gatehouse(...args)).code).toBe(2);
    expect(gateway.calls).toEqual([]);
  });

  test('status shows one campaign, all of them, or the devices that failed', async () => {
    expect((await gatehouse('status', campaign.id)).stdout).toMatch(
      /devices\s+100: 5 renewed, 1 failed, 4 told, 90 to be told/,
    );
    expect((await gatehouse('status')).stdout).toMatch(/rc-0123456789abcdef\s+line-3\s+running/);
    gateway.calls.length = 0;
    const { stdout } = await gatehouse('status', campaign.id, '--failed');
    expect(gateway.calls).toEqual([
      { name: 'listRenewalDevices', input: { id: campaign.id, state: 'failed', limit: 500 } },
    ]);
    expect(stdout).toMatch(/pump-17\s+refused\s.*KEY_NOT_ALLOWED in attempt a-0123456789abcdef/);
  });

  test.each(['pause', 'resume', 'abort', 'retry'])('%s names the campaign', async (step) => {
    expect((await gatehouse(step, campaign.id)).code).toBe(0);
    expect(gateway.calls).toEqual([{ name: `${step}Renewals`, input: { id: campaign.id, actor } }]);
  });

  test('start --wait ends with 1 when the campaign was aborted, and with 0 when all renewed', async () => {
    current = { ...campaign, state: 'aborted', detail: '12 of 12 failed' };
    const aborted = await gatehouse('start', '--all', '--wait');
    expect(aborted.code).toBe(1);
    expect(aborted.stderr).toContain('12 of 12 failed');
    current = {
      ...campaign,
      state: 'finished',
      devices: { waiting: 0, ordered: 0, renewed: 100, failed: 0, unreached: 0, skipped: 0 },
    };
    expect((await gatehouse('status', campaign.id, '--wait')).code).toBe(0);
  });

  test('a campaign that was not told how long to wait for devices that are away waits a day, and says so', async () => {
    await gatehouse('start', '--all');
    expect(gateway.calls).toMatchObject([{ name: 'startRenewals', input: { giveUpSeconds: 86_400 } }]);
    expect((await gatehouse('start', '--help')).stdout).toMatch(/--give-up-after <time>[^]*\(default: 1d\)/);
    expect((await gatehouse('status', campaign.id)).stdout).toMatch(
      /gives up who is away\s+1d after the last is told\n/,
    );
    current = { ...campaign, givesUpAt: Date.now() + 5.5 * HOUR };
    expect((await gatehouse('status', campaign.id)).stdout).toMatch(/1d after the last is told: .*\(in 5 h\)/);
  });

  test('status names those that were not reached, given up or still waited for', async () => {
    current = { ...campaign, state: 'finished', devices: { ...campaign.devices, unreached: 3 } };
    expect((await gatehouse('status', campaign.id)).stdout).toContain('3 not reached');
    expect((await gatehouse('status')).stdout).toMatch(/not reached/i);
    const { stdout } = await gatehouse('status', campaign.id, '--not-reached');
    expect(stdout).toMatch(/pump-18\s+offline\s.*never connected/);
    expect(stdout).toMatch(/pump-19\s+not acknowledged/);
    expect(stdout).not.toContain('pump-20');
  });

  test('--wait ends when those that are away are given up, and tells them apart from those that failed', async () => {
    const devices = { waiting: 0, ordered: 0, renewed: 97, failed: 0, unreached: 3, skipped: 0 };
    current = { ...campaign, state: 'finished', detail: '97 renewed, 0 failed, 3 not reached', devices };
    const incomplete = await gatehouse('status', campaign.id, '--wait');
    expect(incomplete.code).toBe(6);
    expect(incomplete.stdout).toContain('97 renewed, 0 failed, 3 not reached');
    expect(incomplete.stderr).toContain(`gatehouse renewal status ${campaign.id} --not-reached`);
    current = { ...current, devices: { ...devices, failed: 1 } };
    expect((await gatehouse('status', campaign.id, '--wait')).code).toBe(1);
  });

  test('a refusal says what is wrong and what to do next', async () => {
    gateway.failWith.error = new GatewayError('NOT_FOUND', 'there is no renewal campaign "rc-x"');
    const { code, stderr } = await gatehouse('status', 'rc-x');
    expect(code).toBe(1);
    expect(stderr).toContain('there is no renewal campaign "rc-x"');
  });
});

describe('a histogram', () => {
  test('fits the terminal, and shows also the smallest number', () => {
    const lines = formatHistogram(plan, 60);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(60);
    expect(lines[2]?.match(/█/g)?.length).toBeGreaterThan(30);
    expect(lines[3]).toMatch(/[▏▎▍▌]$/);
    expect(lines[0]).toMatch(/ 0$/);
  });
  test('of an empty fleet has no bars', () => {
    expect(formatHistogram({ forecast: [], widthMs: HOUR }, 80)).toEqual([]);
  });
  test.each([
    [0, '0 s'],
    [59_000, '59 s'],
    [3_661_000, '1 h 1 min'],
    [90_000_000, '1 d 1 h'],
  ])('tells %i ms as %s', (ms, expected) => {
    expect(formatSpan(ms)).toBe(expected);
  });
});
