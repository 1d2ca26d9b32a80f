import type { DeviceRevoked } from '#gateway/contract/operator-api.ts';
import { CONCURRENCY, type Measurement, scaled } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import { percentile, rounded } from './statistics.ts';

/** `order`: the operator asked. `closed`: the device saw its connection end. Milliseconds of the shared clock. */
type Revoked = { order: number; closed: number; byGateway: number };

/**
 * From the operator's request to the closed socket, as the device sees it: the notice goes out, is acknowledged, and the
 * socket ends. One after the other with all the other sessions open, and all at once.
 */
export const measureRevocation: Measurement = async (stage, settings) => {
  const count = scaled(200, settings);
  const [inTurn, atOnce] = [await stage.devices(count), await stage.devices(count)];
  const hold = { kind: 'hold', target: stage.mqtt, subscribe: true, concurrency: CONCURRENCY } as const;
  await stage.load.run({ ...hold, deviceIds: inTurn });
  await stage.load.run({ ...hold, deviceIds: atOnce });
  const first = await revokeAll(stage, inTurn, 1);
  const second = await revokeAll(stage, atOnce, count);
  const allClosed = Math.max(...second.map(({ closed }) => closed)) - Math.min(...second.map(({ order }) => order));
  return {
    name: `Revoke to disconnect (${count} sessions that acknowledge the notice; as the device sees it)`,
    figures: [
      ...figures('one after the other', first),
      ...figures('all at once', second),
      { name: 'all at once: all closed after', value: allClosed, unit: 'ms' },
    ],
  };
};

async function revokeAll(stage: BenchStage, deviceIds: readonly string[], concurrency: number): Promise<Revoked[]> {
  const revoked: Revoked[] = [];
  const answers: Promise<void>[] = [];
  const rest = [...deviceIds];
  const lane = async () => {
    for (let deviceId = rest.pop(); deviceId !== undefined; deviceId = rest.pop()) {
      const closing = stage.load.run({ kind: 'closed', deviceIds: [deviceId] });
      const one = { order: Number(process.hrtime.bigint()) / 1e6, closed: Number.NaN, byGateway: Number.NaN };
      revoked.push(one);
      const answer = (async () => {
        one.byGateway = await revoke(stage, deviceId);
      })();
      // The operator's answer also waits for the CRL, of which there is one a second at most: the next one does not.
      answer.catch(() => {});
      answers.push(answer);
      one.closed = (await closing).closedAt?.[deviceId] ?? Number.NaN;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  await Promise.all(answers);
  return revoked;
}

async function revoke(stage: BenchStage, deviceId: string): Promise<number> {
  const body = { reason: 'cessationOfOperation' };
  const { sessionsClosed, closedAfterMs } = await stage.operator.call<DeviceRevoked>('revokeDevice', {
    params: [deviceId],
    body,
  });
  if (sessionsClosed !== 1) throw new Error(`${deviceId}: ${sessionsClosed} sessions were closed, not 1`);
  return closedAfterMs;
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
