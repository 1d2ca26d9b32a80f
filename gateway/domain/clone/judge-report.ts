import type { CloneRules } from '#gateway/contract/alarm-api.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { CloneEvidence } from './clone-evidence.ts';
import type { TakeOver } from './identity-trails.ts';

/** What stands with a device about who reported for it. Times are milliseconds UTC. */
export type ReportTrail = {
  at: number;
  serial: string;
  /** Of the certificate: what was enrolled anew has no past. */
  lineage: string;
  /** When its session began. */
  since: number;
  address: string;
  /** Of the agent's process; null: it has not said. */
  run: string | null;
  /** Those before it, newest first. */
  pastRuns: string[];
};

export type Reported = {
  at: number;
  serial: string;
  lineage: string;
  session: { since: number; address: string };
  run: string | null;
  count: number | null;
  /** Set when its session took the place of a living one. */
  takeOver: TakeOver | undefined;
};

export type ReportVerdict = {
  trail: ReportTrail;
  /** The highest count so far. */
  count: number | null;
  evidence: CloneEvidence | undefined;
  /** It is the run that reported before: whatever it did meanwhile, it is one. */
  isSameRun: boolean;
};

const CLOCK_TOLERANCE_SECONDS = 60;
/** A run that was last seen so many runs ago is forgotten. */
const MAX_PAST_RUNS = 8;

/**
 * Each report carries a count that the agent keeps on its disk, written down before it is sent, and the run of its
 * process. So of one device the count only rises, whatever is lost and however often it starts, and a run that has
 * ended never speaks again. Two that live from one copied disk break both; one that roams breaks neither.
 * @param known undefined: nothing was reported so far, or what is known is to be forgotten
 * @returns undefined for a report that was overtaken by one of a later session: it says nothing
 */
export function judgeReport(
  known: { trail: ReportTrail; count: number | null } | undefined,
  reported: Reported,
  rules: CloneRules,
): ReportVerdict | undefined {
  const { at, serial, lineage, session, run, count } = reported;
  const trail = { at, serial, lineage, ...session, run, pastRuns: [] };
  if (known === undefined || known.trail.lineage !== lineage) {
    return { trail, count, evidence: undefined, isSameRun: false };
  }
  const before = known.trail;
  // Unless it is of a future that the gateway's clock has come back from: then nothing would be heard until that is past.
  if (session.since < before.since && before.since <= at) return undefined;
  const isSameRun = run !== null && run === before.run;
  const pastRuns = before.pastRuns.filter((past) => past !== run);
  if (before.run !== null && run !== null && !isSameRun) pastRuns.unshift(before.run);
  const next = { ...trail, run: run ?? before.run, pastRuns: pastRuns.slice(0, MAX_PAST_RUNS) };
  const evidence =
    findRunReturned(before, reported) ?? findCountWentBack(known, reported) ?? findTwoPlaces(before, reported, rules);
  const highest = known.count === null || count === null ? (count ?? known.count) : Math.max(count, known.count);
  return { trail: next, count: highest, evidence, isSameRun: isSameRun && evidence === undefined };
}

function findRunReturned(before: ReportTrail, { serial, session, run }: Reported): CloneEvidence | undefined {
  if (run === null || !before.pastRuns.includes(run)) return undefined;
  return {
    kind: 'two places',
    detail: `run ${run} of its agent reports from ${session.address} after run ${before.run} did from ${before.address}: both live`,
    address: session.address,
    serial,
  };
}

/** Within one session reports may only come twice; of a later one each has to be higher than all before. */
function findCountWentBack(
  { trail, count: known }: { trail: ReportTrail; count: number | null },
  { serial, session, count }: Reported,
): CloneEvidence | undefined {
  if (count === null || known === null || count > known || session.since === trail.since) return undefined;
  return {
    kind: 'count went back',
    detail: `it reports from ${session.address} with count ${count}, and has reported with ${known} from ${trail.address}: its state was copied, or set back to an earlier one`,
    address: session.address,
    serial,
  };
}

function findTwoPlaces(
  before: ReportTrail,
  { serial, session, run, takeOver }: Reported,
  { twoPlacesSeconds }: CloneRules,
): CloneEvidence | undefined {
  if (takeOver === undefined || run === null || before.run === null || run === before.run) return undefined;
  const { displaced } = takeOver;
  if (networkOf(displaced.address) === networkOf(session.address)) return undefined;
  const seconds = (session.since - Math.max(displaced.since, before.at)) / 1000;
  // Before the last sign of the other: our clock was set back, and says nothing about how long it was.
  if (seconds < -CLOCK_TOLERANCE_SECONDS || seconds >= twoPlacesSeconds) return undefined;
  return {
    kind: 'two places',
    detail: `another run of its agent took over from ${session.address}, ${seconds.toFixed(1)} s after the last sign of the session from ${displaced.address}`,
    address: session.address,
    serial,
  };
}
