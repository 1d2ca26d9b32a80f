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
  const startedAt = performance.now();
  const second = await revokeAll(stage, atOnce, count);
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    name: `Revoke to disconnect (${count} sessions that acknowledge the notice; as the device sees it)`,
    figures: [
      ...figures('one after the other', first),
      ...figures('all at once', second),
      { name: 'all at once: all closed after', value: seconds * 1000, unit: 'ms' },
    ],
  };
};

async function revokeAll(stage: BenchStage, deviceIds: readonly string[], concurrency: number): Promise<Revoked[]> {
  const closing = stage.load.run({ kind: 'closed', deviceIds: [...deviceIds] });
  const orders = new Map<string, { at: number; byGateway: number }>();
  const rest = [...deviceIds];
  const lane = async () => {
    for (let deviceId = rest.pop(); deviceId !== undefined; deviceId = rest.pop()) {
      const at = Number(process.hrtime.bigint()) / 1e6;
      const revoked = await stage.operator.call<DeviceRevoked>('revokeDevice', {
        params: [deviceId],
        body: { reason: 'cessationOfOperation' },
      });
      if (revoked.sessionsClosed !== 1)
        throw new Error(`${deviceId}: ${revoked.sessionsClosed} sessions closed, not 1`);
      orders.set(deviceId, { at, byGateway: revoked.closedAfterMs });
    }
  };
  await Promise.all([closing, ...Array.from({ length: concurrency }, lane)]);
  const { closedAt = {} } = await closing;
  return [...orders].map(([deviceId, { at, byGateway }]) => ({
    order: at,
    closed: closedAt[deviceId] ?? Number.NaN,
    byGateway,
  }));
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
