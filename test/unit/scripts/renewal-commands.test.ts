import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { RenewalCampaignDetail, RenewalPlan } from '#gateway/contract/renewal-api.ts';
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
  finishedAt: null,
  detail: null,
  devices: { waiting: 90, ordered: 4, renewed: 5, failed: 1, skipped: 0 },
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
      listRenewalDevices: () => ({ items: [failed], nextCursor: null }),
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
      ...'start --group line-3 --within 1h --rate 120 --abort-at 5%'.split(' '),
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
      devices: { waiting: 0, ordered: 0, renewed: 100, failed: 0, skipped: 0 },
    };
    expect((await gatehouse('status', campaign.id, '--wait')).code).toBe(0);
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
