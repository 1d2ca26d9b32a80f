import { type BenchSettings, CONCURRENCY, type Measurement, scaled } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import { type Parts, partFigures, readParts } from './enrollment-parts.ts';
import { type LoadRound, loadFigures, takeLoadRound } from './enrollment-under-load.ts';
import type { Figure } from './figure.ts';
import type { LoadJob, LoadResult } from './load-jobs.ts';
import { median, percentile, rounded } from './statistics.ts';

/** New certificates of one device on one connection: the gateway lets it hold five that it has not used. */
const RENEWALS_EACH = 4;

const WAYS = ['ticket', 'reenroll', 'mqtt'] as const;
/** No round begins that would most likely end later: on a machine that others use there are fewer. */
const MOST_MS = 75_000;

type Way = (typeof WAYS)[number];
type Rates = Record<Way, LoadResult[]>;

/**
 * Every way to a certificate through the doors of the real process: how many per second, what half of that and twice
 * that does to those who come, and where the time of a single request goes. Each certificate is audited and on the disk,
 * at the gateway and in the authority's journal, before it is answered.
 */
export const measureEnrollment: Measurement = async (stage, settings) => {
  const rates: Rates = { ticket: [], reenroll: [], mqtt: [] };
  const load: Record<Way, LoadRound[]> = { ticket: [], reenroll: [], mqtt: [] };
  const used: string[] = [];
  const devices = async (count: number): Promise<string[]> => {
    const deviceIds = await stage.devicesToRenew(count);
    used.push(...deviceIds);
    return deviceIds;
  };
  // Not measured: the first requests of a process are compiled while they are answered.
  stage.release(await stage.devices(scaled(100, settings)));
  const startedAt = performance.now();
  for (let round = 0; round < settings.rounds; round += 1) {
    const took = performance.now() - startedAt;
    if (round > 0 && took + took / round > MOST_MS) break;
    const time = (job: LoadJob) => stage.load.run(job);
    const { est, mqtt } = stage;
    const alike = { concurrency: CONCURRENCY, watch: stage.gatewayPid };
    const newcomers = await stage.register(scaled(160, settings));
    const ticket = await time({ kind: 'enroll', target: est, deviceIds: newcomers, ...alike });
    stage.release(newcomers);
    const many = { ...alike, each: RENEWALS_EACH };
    const count = scaled(80, settings);
    const reenroll = await time({ kind: 'reenroll', target: est, deviceIds: await devices(count), ...many });
    const overMqtt = await time({ kind: 'renew', target: mqtt, deviceIds: await devices(count), ...many });
    rates.ticket.push(ticket);
    rates.reenroll.push(reenroll);
    rates.mqtt.push(overMqtt);
    load.ticket.push(await takeLoadRound(stage, { what: 'enroll', rate: rateOf(ticket), settings, devices }));
    load.reenroll.push(await takeLoadRound(stage, { what: 'reenroll', rate: rateOf(reenroll), settings, devices }));
    load.mqtt.push(await takeLoadRound(stage, { what: 'renew', rate: rateOf(overMqtt), settings, devices }));
  }
  const parts = await takeParts(stage, settings, devices);
  stage.release(used);
  return {
    name: `Enrollment (audit and fsync on; rates: ${CONCURRENCY} at a time; half and twice: of the rate in the same round)`,
    figures: [
      rate('EST with ticket, new connection each', rates.ticket),
      rate('EST re-enroll, kept connections', rates.reenroll),
      rate('MQTT renew, kept sessions', rates.mqtt),
      ...loadFigures('EST with ticket', load.ticket),
      ...loadFigures('EST re-enroll', load.reenroll),
      ...loadFigures('MQTT renew', load.mqtt),
      ...partFigures(parts),
    ],
    ...(rates.ticket.length < settings.rounds
      ? { skipped: `all but ${rates.ticket.length} rounds: the machine is slow or busy` }
      : {}),
  };
};

/** One request after the other, in each way. */
async function takeParts(
  stage: BenchStage,
  settings: BenchSettings,
  devices: (count: number) => Promise<string[]>,
): Promise<Record<Way, Parts>> {
  const count = scaled(60, settings);
  const newcomers = await stage.newcomers(count);
  const alone = { each: 1, concurrency: 1 };
  const enrolled = await stage.load.run({ kind: 'enroll', target: stage.est, deviceIds: newcomers, concurrency: 1 });
  stage.release(newcomers);
  const overEst = await devices(count);
  const renewed = await stage.load.run({ kind: 'reenroll', target: stage.est, deviceIds: overEst, ...alone });
  const overMqtt = await devices(count);
  const told = await stage.load.run({ kind: 'renew', target: stage.mqtt, deviceIds: overMqtt, ...alone });
  return {
    ticket: await readParts(stage, { kind: 'enroll', door: 'est' }, { ...enrolled, deviceIds: newcomers }),
    reenroll: await readParts(stage, { kind: 'reenroll', door: 'est' }, { ...renewed, deviceIds: overEst }),
    mqtt: await readParts(stage, { kind: 'reenroll', door: 'mqtt' }, { ...told, deviceIds: overMqtt }),
  };
}

function rateOf({ count, seconds }: LoadResult): number {
  return count / seconds;
}

function rate(name: string, rounds: readonly LoadResult[]): Figure {
  const of = (percent: number) => rounded(median(rounds.map(({ latencies }) => percentile(latencies, percent))));
  const ranMs = rounded(median(rounds.map(({ count, watched }) => (watched?.ranMs ?? Number.NaN) / count)));
  return {
    name,
    value: median(rounds.map(rateOf)),
    unit: '/s',
    rounds: rounds.map((one) => rounded(rateOf(one))),
    note: `p50 ${of(50)} ms, p99 ${of(99)} ms; ${ranMs} ms of the gateway's main thread each`,
  };
}
