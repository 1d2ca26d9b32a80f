import type { DeviceRevoked } from '#gateway/contract/operator-api.ts';
import type { RevocationJobDetail } from '#gateway/contract/revocation-api.ts';
import { CONCURRENCY, type Measurement, scaled } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import { percentile, rounded } from './statistics.ts';

/** `order`: the operator asked. `closed`: the device saw its connection end. Milliseconds of the shared clock. */
type Revoked = { order: number; closed: number; byGateway: number };

/** Revoked one after the other in each crowd. */
const IN_TURN = 50;
const AT_ONCE = 500;
const SMALL_CROWD = 100;
const LARGE_CROWD = 2000;
const GROUP = 'bench-revoked';
/** The operator API answers after this with a job under way. */
const JOB_ASK_MS = 200;

/**
 * From the operator's request to the closed socket, as the device sees it: the notice goes out, is acknowledged, and the
 * socket ends. Alone, and among 100 and 2 000 live sessions one after the other; then a group of 500 of them at once.
 */
export const measureRevocation: Measurement = async (stage, settings) => {
  const [each, small, large, group] = [IN_TURN, SMALL_CROWD, LARGE_CROWD, AT_ONCE].map((n) => scaled(n, settings)) as [
    number,
    number,
    number,
    number,
  ];
  const alone: Revoked[] = [];
  for (const deviceId of await stage.devices(Math.min(20, each))) {
    await hold(stage, [deviceId]);
    alone.push(await revokeOne(stage, deviceId));
  }
  const fewOthers = await stage.devices(small);
  await hold(stage, fewOthers);
  const amongFew = await revokeInTurn(stage, fewOthers.splice(0, Math.min(each, small)));

  const members = await stage.register(group, GROUP);
  await stage.load.run({ kind: 'enroll', target: stage.est, deviceIds: members, concurrency: CONCURRENCY });
  const manyOthers = await stage.devices(Math.max(each, large - group - fewOthers.length));
  await hold(stage, manyOthers);
  await hold(stage, members);
  const amongMany = await revokeInTurn(stage, manyOthers.splice(0, each));
  const atOnce = await revokeGroup(stage, members);
  await stage.load.run({ kind: 'release' });
  const crowd = fewOthers.length + manyOthers.length + each + group;
  return {
    name: 'Revoke to disconnect (sessions that acknowledge the notice; as the device sees it)',
    figures: [
      ...figures('1 live session', alone),
      ...figures(`${small} live sessions, one at a time`, amongFew),
      ...figures(`${crowd} live sessions, one at a time`, amongMany),
      ...figures(`${group} at once of ${crowd - each}`, atOnce),
      { name: `${group} at once: all closed after`, value: lastClosed(atOnce), unit: 'ms' },
    ],
  };
};

async function hold(stage: BenchStage, deviceIds: string[]): Promise<void> {
  await stage.load.run({ kind: 'hold', target: stage.mqtt, subscribe: true, concurrency: CONCURRENCY, deviceIds });
}

async function revokeInTurn(stage: BenchStage, deviceIds: readonly string[]): Promise<Revoked[]> {
  const revoked: Revoked[] = [];
  for (const deviceId of deviceIds) revoked.push(await revokeOne(stage, deviceId));
  return revoked;
}

/** The operator's answer also waits for the CRL: the next order does not come before it. */
async function revokeOne(stage: BenchStage, deviceId: string): Promise<Revoked> {
  const closing = stage.load.run({ kind: 'closed', deviceIds: [deviceId] });
  const order = sharedClock();
  const body = { reason: 'cessationOfOperation' };
  const { sessionsClosed, closedAfterMs } = await stage.operator.call<DeviceRevoked>('revokeDevice', {
    params: [deviceId],
    body,
  });
  if (sessionsClosed !== 1) throw new Error(`${deviceId}: ${sessionsClosed} sessions were closed, not 1`);
  const closed = (await closing).closedAt?.[deviceId] ?? Number.NaN;
  return { order, closed, byGateway: closedAfterMs };
}

async function revokeGroup(stage: BenchStage, deviceIds: string[]): Promise<Revoked[]> {
  const closing = stage.load.run({ kind: 'closed', deviceIds });
  const order = sharedClock();
  const body = { scope: 'group', target: GROUP, reason: 'cessationOfOperation' };
  let job = await stage.operator.call<RevocationJobDetail>('orderRevocation', { body });
  const { closedAt = {} } = await closing;
  while (job.state === 'running') {
    await new Promise((resolve) => setTimeout(resolve, JOB_ASK_MS));
    job = await stage.operator.call<RevocationJobDetail>('showRevocation', { params: [job.id] });
  }
  if (job.closed?.sessions !== deviceIds.length)
    throw new Error(`${job.closed?.sessions ?? 0} sessions were closed, not ${deviceIds.length}`);
  const items = await stage.operator.list<{ deviceId: string; closedAfterMs: number | null }>(
    'listRevocationItems',
    {},
    undefined,
    [job.id],
  );
  const told = new Map(items.map(({ deviceId, closedAfterMs }) => [deviceId, closedAfterMs ?? Number.NaN]));
  return deviceIds.map((deviceId) => ({
    order,
    closed: closedAt[deviceId] ?? Number.NaN,
    byGateway: told.get(deviceId) ?? Number.NaN,
  }));
}

function lastClosed(revoked: readonly Revoked[]): number {
  return Math.max(...revoked.map(({ closed }) => closed)) - Math.min(...revoked.map(({ order }) => order));
}

/** Milliseconds of the monotonic clock that all processes of this machine share. */
function sharedClock(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function figures(how: string, revoked: readonly Revoked[]): Figure[] {
  const seen = revoked.map(({ order, closed }) => closed - order);
  const told = revoked.map(({ byGateway }) => byGateway);
  return ([50, 99, 100] as const).map((percent) => ({
    name: `${how}: ${percent === 100 ? 'max' : `p${percent}`}`,
    value: percentile(seen, percent),
    unit: 'ms',
    note: `${rounded(percentile(told, percent))} ms by the gateway's own clock`,
  }));
}
