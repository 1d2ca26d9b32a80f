import { type BenchSettings, CONCURRENCY, scaled } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import type { Arrivals, LoadResult, Target } from './load-jobs.ts';
import type { ThreadTime } from './process-facts.ts';
import { median, percentile, rounded } from './statistics.ts';

/** How long half a load lasts, and twice: long enough for the queues to fill. */
const HALF_SECONDS = 1;
const TWICE_SECONDS = { enroll: 2.5, reenroll: 2, renew: 2 };
/** Certificates that one load may cost, at most: the bench has other things to do. */
const MOST_GRANTED = 1000;
/** At once, for the highest rate: as many as the door takes of one address that has asked more than its share. */
const AT_ONCE = 32;
const RENEWALS_EACH = 4;
/** At twice what can be done, so many renew that refusals come although each waits for its answer. */
const FEWEST_CONNECTIONS = 400;
/** Fewer say nothing of what one costs. */
const FEWEST_REFUSALS = 50;

/** `watched`: the gateway's main thread while so many were granted in so many seconds. */
type Rate = { granted: number; seconds: number; watched: ThreadTime };
type Stood = Pick<LoadResult, 'latencies'> & { arrivals: Arrivals; watched: ThreadTime };
export type LoadRound = { peak: Rate; half: Stood; twice: Stood };

type Order = {
  what: 'enroll' | 'reenroll' | 'renew';
  /** Per second, of 16 at a time. */
  rate: number;
  settings: BenchSettings;
  /** Enrolled devices that have not renewed yet. */
  devices: (count: number) => Promise<string[]>;
};

/** Half of the rate; the highest rate, with many at once; twice of that, whether anybody is answered or not. */
export async function takeLoadRound(stage: BenchStage, order: Order): Promise<LoadRound> {
  const half = await stand(stage, order, order.rate / 2);
  const peak = await crowd(stage, order);
  const rate = Math.max(order.rate, perSecondOf(peak));
  return { peak, half, twice: await stand(stage, { ...order, rate }, rate * 2) };
}

async function crowd(stage: BenchStage, { what, settings, devices }: Order): Promise<Rate> {
  const job = { target: doorFor(stage, what), concurrency: AT_ONCE, watch: stage.gatewayPid };
  if (what !== 'enroll') {
    const deviceIds = await devices(scaled(100, settings));
    return rateOf(await stage.load.run({ kind: what, ...job, deviceIds, each: RENEWALS_EACH }));
  }
  const deviceIds = await stage.newcomers(scaled(200, settings));
  const result = await stage.load.run({ kind: 'enroll', ...job, deviceIds });
  stage.release(deviceIds);
  return rateOf(result);
}

async function stand(stage: BenchStage, order: Order, perSecond: number): Promise<Stood> {
  const { what, rate, settings, devices } = order;
  const isTooMany = perSecond > rate;
  const longest = isTooMany ? TWICE_SECONDS[what] : HALF_SECONDS;
  const seconds = Math.min(longest, MOST_GRANTED / rate) * Math.max(0.5, settings.scale);
  const coming = Math.ceil(perSecond * seconds) + 1;
  const job = {
    kind: 'arrive',
    what,
    target: doorFor(stage, what),
    each: RENEWALS_EACH,
    perSecond,
    seconds,
    watch: stage.gatewayPid,
  } as const;
  if (what !== 'enroll') {
    const fewest = isTooMany ? scaled(FEWEST_CONNECTIONS, settings) : CONCURRENCY;
    const deviceIds = await devices(Math.max(fewest, Math.ceil(coming / RENEWALS_EACH)));
    return arrivalsOf(await stage.load.run({ ...job, deviceIds }));
  }
  // Who is refused comes again, but all may be on their way at once.
  const deviceIds = await stage.newcomers(coming);
  const result = await stage.load.run({ ...job, deviceIds });
  stage.enrolled(deviceIds, result.enrolled ?? []);
  return arrivalsOf(result);
}

function doorFor({ est, mqtt }: BenchStage, what: Order['what']): Target {
  return what === 'renew' ? mqtt : est;
}

function rateOf({ count, seconds, watched }: LoadResult): Rate {
  return { granted: count, seconds, watched: required(watched) };
}

function arrivalsOf({ latencies, arrivals, watched }: LoadResult): Stood {
  return { latencies, arrivals: required(arrivals), watched: required(watched) };
}

function required<T>(told: T | undefined): T {
  if (told === undefined) throw new Error('the load process did not tell what it was asked');
  return told;
}

function perSecondOf({ granted, seconds }: Pick<Rate, 'granted' | 'seconds'>): number {
  return granted / seconds;
}

/**
 * Beside the rate stands what the gateway granted in a second in which its main thread ran: on a machine that others
 * use, and where the load itself takes more of the processors the more of it there is, only that tells what refusing costs.
 */
export function loadFigures(name: string, rounds: readonly LoadRound[]): Figure[] {
  const all = (read: (round: LoadRound) => readonly number[]) => rounds.flatMap(read);
  const twice = rounds.map((round) => ({ ...round.twice.arrivals, watched: round.twice.watched }));
  const half = all((round) => round.half.latencies);
  const sum = (read: (arrivals: Arrivals) => number) => twice.reduce((total, one) => total + read(one), 0);
  const refused = sum((arrivals) => arrivals.refused.length);
  const offered = median(twice.map((one) => one.offeredPerSecond));
  return [
    {
      name: `${name}, at half: p50`,
      value: median(half),
      unit: 'ms',
      note: `p99 ${rounded(percentile(half, 99))} ms of ${half.length}, ${all((round) => round.half.arrivals.refused).length} refused`,
    },
    {
      name: `${name}, at twice: granted`,
      ...compared(
        twice.map(perSecondOf),
        rounds.map(({ peak }) => perSecondOf(peak)),
      ),
      note: `offered ${rounded(offered)}/s; ${timesOf(all((round) => round.twice.latencies))}`,
    },
    {
      name: `${name}, at twice: granted per second that the gateway ran`,
      ...compared(
        twice.map(perRunSecond),
        rounds.map(({ peak }) => perRunSecond(peak)),
      ),
      note: `it ran ${share(twice, 'ranMs')} of the time and waited ${share(twice, 'waitedMs')} for a processor; at the peak ${share(
        rounds.map(({ peak }) => peak),
        'ranMs',
      )} and ${share(
        rounds.map(({ peak }) => peak),
        'waitedMs',
      )}`,
    },
    {
      name: `${name}, at twice: refused`,
      value: refused,
      unit: '',
      note: `503 and Retry-After ${timesOf(twice.flatMap((one) => one.refusedSinceSent))} after the request${refusalCost(rounds)}; closed without an answer: ${sum(({ lost }) => lost)}`,
    },
  ];
}

/** Rounds are ratios: what is compared was measured within seconds. */
function compared(
  values: readonly number[],
  peaks: readonly number[],
): Pick<Figure, 'value' | 'unit' | 'rounds' | 'peer'> {
  const ratios = values.map((value, round) => value / (peaks[round] ?? Number.NaN));
  const peak = median(peaks);
  return {
    value: median(ratios) * peak,
    unit: '/s',
    rounds: ratios.map(rounded),
    peer: { name: 'its peak', value: peak },
  };
}

function perRunSecond({ granted, watched }: Pick<Rate, 'granted' | 'watched'>): number {
  return (granted * 1000) / watched.ranMs;
}

/** What the main thread ran beyond what as many certificates take at the peak. Nothing is said of a few. */
function refusalCost(rounds: readonly LoadRound[]): string {
  const total = { ranMs: 0, refused: 0 };
  for (const { peak, twice } of rounds) {
    const grantMs = peak.watched.ranMs / peak.granted;
    total.ranMs += twice.watched.ranMs - twice.arrivals.granted * grantMs;
    total.refused += twice.arrivals.refusedMeanwhile;
  }
  if (total.refused < FEWEST_REFUSALS) return '';
  return `, ${rounded(total.ranMs / total.refused)} ms of the gateway's main thread each`;
}

function share(rates: readonly Pick<Rate, 'seconds' | 'watched'>[], of: keyof ThreadTime): string {
  return `${Math.round(median(rates.map(({ seconds, watched }) => watched[of] / (seconds * 10))))} %`;
}

function timesOf(values: readonly number[]): string {
  return values.length === 0 ? 'none' : `p50 ${rounded(median(values))} ms, p99 ${rounded(percentile(values, 99))} ms`;
}
