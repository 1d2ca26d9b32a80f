import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { RevocationJobDetail, RevocationPlanned } from '#gateway/contract/revocation-api.ts';
import { type OperatorGateway, openOperatorGateway } from '#test/fixtures/doors/operator-gateway.ts';
import { PROGRAMS, run } from '#test/fixtures/processes/program.ts';

const { npm_command: _, ...env } = process.env;
const actor = 'local:tester';

const finished: RevocationJobDetail = {
  id: 'r-1',
  scope: 'group',
  target: 'line-3',
  reason: 'superseded',
  state: 'finished',
  rate: null,
  createdAt: Date.now() - 5000,
  createdBy: 'local:anna',
  finishedAt: Date.now() - 4000,
  items: { waiting: 0, revoked: 30, unchanged: 1, failed: 0 },
  closed: { sessions: 28, p50: 4.2, p99: 21.5, max: 40.1 },
};
const running: RevocationJobDetail = {
  ...finished,
  state: 'running',
  rate: 5,
  finishedAt: null,
  items: { waiting: 20, revoked: 10, unchanged: 0, failed: 0 },
};
const plan: RevocationPlanned = {
  scope: 'group',
  target: 'line-3',
  certificates: 21,
  devices: 20,
  sessions: 18,
  sample: [{ serial: '4f21', deviceId: 'pump-17' }],
};

describe('the gatehouse command, about revocations,', () => {
  let folder: string;
  let dataDir: string;
  let gateway: OperatorGateway;
  let ordered: RevocationJobDetail;
  let shown: RevocationJobDetail[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-cli-'));
    dataDir = join(folder, 'data');
    gateway = await openOperatorGateway({
      orderRevocation: () => ordered,
      showRevocation: () => shown.shift() ?? finished,
      planRevocation: plan,
      listRevocations: { items: [finished, { ...running, id: 'r-2' }], nextCursor: null },
      listRevocationItems: {
        items: [{ serial: '4f21', deviceId: 'pump-17', state: 'failed', closedAfterMs: null, detail: 'no key' }],
        nextCursor: null,
      },
      pauseRevocation: { ...running, state: 'paused' },
    });
    await mkdir(join(dataDir, 'run'), { recursive: true });
    const door = { host: '127.0.0.1', port: 1, url: '' };
    const content = {
      pid: process.pid,
      operatorSocket: gateway.socketPath,
      doors: { est: door, mqtt: door, status: door, operator: door },
    };
    await writeFile(join(dataDir, DATA_FOLDER.runFile), JSON.stringify(content));
  });
  afterAll(async () => {
    await gateway.close();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    gateway.calls.length = 0;
    ordered = finished;
    shown = [];
  });

  const gatehouse = (...args: string[]) =>
    run(process.execPath, [PROGRAMS.gatehouse, ...args, '--data', dataDir], { env });

  test('revokes, waits for the end, and says how fast the sessions were closed', async () => {
    ordered = running;
    shown = [running, running];
    const { code, stdout } = await gatehouse('revoke', 'group', 'line-3', '--reason', 'superseded', '--rate', '5');
    expect(code).toBe(0);
    expect(gateway.calls[0]).toEqual({
      name: 'orderRevocation',
      input: { scope: 'group', target: 'line-3', reason: 'superseded', rate: 5, actor },
    });
    expect(gateway.calls.filter(({ name }) => name === 'showRevocation')).toHaveLength(3);
    expect(stdout).toMatch(/state\s+finished\s/);
    expect(stdout).toContain('30 revoked, 1 unchanged');
    expect(stdout).toContain('28 closed, after 4.2 ms (p50), 21.5 ms (p99), 40.1 ms (max)');
  });

  test('leaves a long one to the gateway and says how to follow it', async () => {
    ordered = running;
    const order = ['revoke', 'key', 'ab'.repeat(32), '--reason', 'key-compromise', '--detach'];
    const { code, stderr } = await gatehouse(...order);
    expect(code).toBe(0);
    expect(stderr).toContain('gatehouse revoke status r-1 --watch');
    expect(gateway.calls.map(({ name }) => name)).toEqual(['orderRevocation']);
  });

  test('says beforehand what would be revoked, and revokes nothing', async () => {
    const { stdout, stderr } = await gatehouse('revoke', 'group', 'line-3', '--dry-run');
    expect(stdout).toMatch(/4f21\s+pump-17/);
    expect(stderr).toContain('and 20 more');
    expect(stderr).toContain('21 certificate(s) of 20 device(s) and close 18 session(s); nothing was changed');
    expect(gateway.calls).toEqual([{ name: 'planRevocation', input: { scope: 'group', target: 'line-3' } }]);
  });

  test('ends with 1 when something could not be revoked', async () => {
    ordered = { ...finished, items: { ...finished.items, failed: 2 } };
    const { code, stdout } = await gatehouse('revoke', 'device', 'pump-17', '--reason', 'superseded', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual(ordered);
  });

  test('lists the last ones, and the certificates of one', async () => {
    const list = await gatehouse('revoke', 'status');
    expect(list.stdout).toMatch(/r-1\s+group line-3\s+superseded\s+finished\s+30 revoked, 1 unchanged/);
    const items = await gatehouse('revoke', 'status', 'r-1', '--failed');
    expect(items.stdout).toMatch(/4f21\s+pump-17\s+failed\s+-\s+no key/);
    expect(gateway.calls.at(-1)).toMatchObject({ input: { id: 'r-1', state: 'failed' } });
  });

  test('pauses', async () => {
    const { stdout } = await gatehouse('revoke', 'pause', 'r-1');
    expect(stdout).toMatch(/state\s+paused, 5 a second/);
  });

  test('puts on hold and releases', async () => {
    const held = await gatehouse('device', 'hold', 'press-07', '--reason', 'lent to the fair');
    expect(held.stderr).toContain('press-07 is on hold: 1 certificate(s), no session was open');
    expect(gateway.calls.at(-1)).toMatchObject({ name: 'holdDevice', input: { why: 'lent to the fair' } });
    const released = await gatehouse('device', 'release', 'press-07');
    expect(released.stderr).toContain('press-07 is released: 1 certificate(s) are good again');
  });

  test.each<[string, string[], RegExp]>([
    ['no reason', ['revoke', 'device', 'pump-17'], /--reason/],
    [
      'a reason of authorities for a device',
      ['revoke', 'device', 'x', '--reason', 'cACompromise'],
      /a reason is one of/,
    ],
    ['a rate of nothing', ['revoke', 'group', 'x', '--reason', 'superseded', '--rate', '0'], /whole number/],
    ['a hold without a word why', ['device', 'hold', 'pump-17'], /--reason/],
  ])('refuses %s as wrong usage', async (_what, args, said) => {
    const { code, stderr } = await gatehouse(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(said);
    expect(gateway.calls).toEqual([]);
  });

  test('takes the reasons of authorities for an issuer', async () => {
    const { code } = await gatehouse('revoke', 'issuer', 'ab'.repeat(20), '--reason', 'ca-compromise');
    expect(code).toBe(0);
    expect(gateway.calls[0]).toMatchObject({ input: { scope: 'issuer', reason: 'cACompromise' } });
  });
});
