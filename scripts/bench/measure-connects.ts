import { CONCURRENCY, type Measurement, scaled } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import type { Target } from './load-jobs.ts';
import { median, percentile, rounded } from './statistics.ts';
import { type Timed, timeLoad } from './timed-load.ts';

type Contender = { name: string; target: Target; pid: number; rounds: Timed[]; lone: number[] };

const DEVICES = 128;

/**
 * Full TLS 1.3 handshake with client certificate, CONNECT, CONNACK; nothing resumed. The same client and certificates
 * for all, rounds in turn. Mosquitto also with set_tcp_nodelay, which its packages leave off.
 */
export const measureConnects: Measurement = async (stage, settings) => {
  const contenders = await enter(stage);
  const deviceIds = await stage.devices(DEVICES);
  const job = { kind: 'connect', deviceIds } as const;
  const count = scaled(400, settings);
  for (const { target } of contenders)
    await stage.load.run({ ...job, target, count: DEVICES, concurrency: CONCURRENCY });
  for (let round = 0; round < settings.rounds; round += 1) {
    for (const { target, pid, rounds, lone } of contenders) {
      rounds.push(await timeLoad(stage.load, [pid], { ...job, target, count, concurrency: CONCURRENCY }));
      lone.push(median((await stage.load.run({ ...job, target, count: 20, concurrency: 1 })).latencies));
    }
  }
  stage.release(deviceIds);
  return {
    name: `MQTT connects (mutual TLS 1.3, P-256, nothing resumed, ${CONCURRENCY} at a time, one load process)`,
    figures: compare(contenders),
    ...(contenders.length === 1 ? { skipped: 'Mosquitto is not installed (Debian package mosquitto)' } : {}),
  };
};

async function enter(stage: BenchStage): Promise<Contender[]> {
  const contenders: Contender[] = [
    { name: 'gateway', target: stage.mqtt, pid: stage.gatewayPid, rounds: [], lone: [] },
  ];
  for (const noDelay of [false, true]) {
    const broker = await stage.startMosquitto({ noDelay });
    if (broker === undefined) break;
    const target = { ...stage.mqtt, port: broker.port };
    const name = noDelay ? 'Mosquitto, set_tcp_nodelay' : 'Mosquitto';
    contenders.push({ name, target, pid: broker.pid, rounds: [], lone: [] });
  }
  return contenders;
}

function compare(contenders: readonly Contender[]): Figure[] {
  const rate = (one: Contender) => median(one.rounds.map(({ perSecond }) => perSecond));
  const perCore = (one: Contender) => 1000 / median(one.rounds.map(({ serverMs }) => serverMs));
  const peers = contenders.slice(1);
  const best = peers.toSorted((a, b) => perCore(b) - perCore(a))[0];
  const fastest = peers.toSorted((a, b) => rate(b) - rate(a))[0];
  return [
    ...contenders.map(
      (one): Figure => ({
        name: `${one.name}: connects`,
        value: rate(one),
        unit: '/s',
        rounds: one.rounds.map(({ perSecond }) => rounded(perSecond)),
        ...(one === contenders[0] && fastest ? { peer: { name: fastest.name, value: rate(fastest) } } : {}),
        note: describe(one),
      }),
    ),
    ...contenders.map(
      (one): Figure => ({
        name: `${one.name}: connects per processor second`,
        value: perCore(one),
        unit: '/s',
        ...(one === contenders[0] && best ? { peer: { name: best.name, value: perCore(best) } } : {}),
      }),
    ),
  ];
}

function describe({ rounds, lone }: Contender): string {
  const of = (percent: number) => rounded(median(rounds.map(({ latencies }) => percentile(latencies, percent))));
  const loadMs = rounded(median(rounds.map((round) => round.loadMs)));
  return `p50 ${of(50)} ms, p99 ${of(99)} ms; alone p50 ${rounded(median(lone))} ms; load process ${loadMs} ms each`;
}
