import { BenchStage } from '#scripts/bench/bench-stage.ts';
import { enroll } from '#scripts/bench/load/est-load.ts';
import { LoadIdentities } from '#scripts/bench/load/identities.ts';

const stage = await BenchStage.open({});
try {
  await stage.devices(100);
  let n = 0;
  for (const round of [1, 2])
    for (const concurrency of [32, 64, 128, 256, 512]) {
      const ids = new LoadIdentities();
      const tickets: { deviceId: string; ticket: string }[] = [];
      await Promise.all(
        Array.from({ length: 16 }, async () => {
          while (tickets.length < 512) {
            const deviceId = `x-${(n += 1)}`;
            const { ticket } = await stage.operator.call<{ ticket: string }>('addDevice', { body: { deviceId } });
            tickets.push({ deviceId, ticket });
          }
        }),
      );
      await ids.prepare(tickets);
      const r = await enroll(ids, {
        kind: 'enroll',
        target: stage.est,
        deviceIds: tickets.map((t) => t.deviceId),
        concurrency,
      } as never);
      const l = r.latencies.toSorted((a, b) => a - b);
      console.log(
        `round ${round} c=${concurrency} ok=${r.count} failed=${r.failed} ${(r.count / r.seconds).toFixed(0)}/s all=${((r.count + r.failed) / r.seconds).toFixed(0)}/s p50=${l[l.length >> 1]?.toFixed(0)} p99=${l[Math.floor(l.length * 0.99)]?.toFixed(0)} ${r.firstFailure ?? ''}`,
      );
    }
} finally {
  await stage.close();
}
