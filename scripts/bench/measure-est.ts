import { type BenchSettings, CONCURRENCY, type Measurement, scaled } from './bench-settings.ts';
import type { Figure } from './figure.ts';
import type { LoadJob } from './load-jobs.ts';
import { childrenOf } from './process-facts.ts';
import { median, rounded } from './statistics.ts';
import { type Timed, timeLoad } from './timed-load.ts';

/** New certificates of one device on one connection: the gateway lets it hold a few that it has not used. */
const RENEWALS_EACH = 3;

type Rounds = { bare: Timed[]; mutual: Timed[]; enroll: Timed[]; reenroll: Timed[] };

/**
 * Enrollments over EST, each durable and audited when it is answered, beside the TLS handshakes that the same gateway
 * process makes at the same door when nothing is asked of it. Rounds of all kinds follow each other in turn.
 */
export const measureEst: Measurement = async (stage, settings) => {
  const rounds = await takeRounds(stage, settings);
  const mutual = medianRate(rounds.mutual);
  const bare = medianRate(rounds.bare);
  return {
    name: `EST (${CONCURRENCY} at a time; processor time of gateway and authority)`,
    figures: [
      figure('TLS 1.3 handshakes, no certificate', rounds.bare),
      figure('TLS 1.3 handshakes, mutual', rounds.mutual),
      {
        ...figure('first enrollments, new connection each', rounds.enroll),
        peer: { name: 'handshakes, no certificate', value: bare },
      },
      {
        ...figure('re-enrollments, kept connections', rounds.reenroll, { withCost: false }),
        peer: { name: 'handshakes, mutual', value: mutual },
      },
    ],
  };
};

async function takeRounds(stage: Parameters<Measurement>[0], settings: BenchSettings): Promise<Rounds> {
  const rounds: Rounds = { bare: [], mutual: [], enroll: [], reenroll: [] };
  const target = stage.est;
  const pids = [stage.gatewayPid, ...(await childrenOf(stage.gatewayPid))];
  const time = (job: LoadJob) => timeLoad(stage.load, pids, job);
  const count = scaled(200, settings);
  // Not measured: the first requests of a process are compiled while they are answered.
  stage.release(await stage.devices(scaled(100, settings)));
  for (let round = 0; round < settings.rounds; round += 1) {
    const deviceIds = await stage.register(count);
    const load = { target, deviceIds, concurrency: CONCURRENCY };
    rounds.bare.push(await time({ kind: 'handshake', mutual: false, ...load }));
    rounds.enroll.push(await time({ kind: 'enroll', ...load }));
    rounds.mutual.push(await time({ kind: 'handshake', mutual: true, ...load }));
    stage.release(deviceIds);
    const renewing = await stage.devicesToRenew(count / 2);
    rounds.reenroll.push(await time({ kind: 'reenroll', ...load, deviceIds: renewing, each: RENEWALS_EACH }));
    stage.release(renewing);
  }
  return rounds;
}

function medianRate(rounds: readonly Timed[]): number {
  return median(rounds.map(({ perSecond }) => perSecond));
}

/** @param options.withCost left out where the processor time also holds the opening of the connections. */
function figure(name: string, rounds: readonly Timed[], options: { withCost: boolean } = { withCost: true }): Figure {
  const p50 = median(rounds.map(({ latencies }) => median(latencies)));
  const cost = rounded(median(rounds.map(({ serverMs }) => serverMs)));
  return {
    name,
    value: medianRate(rounds),
    unit: '/s',
    rounds: rounds.map(({ perSecond }) => rounded(perSecond)),
    note: `p50 ${rounded(p50)} ms${options.withCost ? `, ${cost} ms of processor each` : ''}`,
  };
}
