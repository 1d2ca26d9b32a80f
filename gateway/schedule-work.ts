import type { CloneRulesBook } from '#gateway/operations/clone-rules-book.ts';
import { followQuarantine } from '#gateway/operations/follow-other-processes.ts';
import { type ExpiryAlarmDeps, keepExpiryAlarms } from '#gateway/operations/keep-expiry-alarms.ts';
import { type KeepPlanDeps, keepRenewalPlan } from '#gateway/operations/keep-renewal-plan.ts';
import type { RevocationPublisher } from '#gateway/operations/publish-revocations.ts';
import type { QuarantineDeps } from '#gateway/operations/quarantine-device.ts';
import { type ReconcileDeps, reconcileEnrollments } from '#gateway/operations/reconcile-enrollments.ts';
import { keepJournalPosition, type ReconcileRestoredDeps } from '#gateway/operations/reconcile-restored.ts';
import { RenewalCampaignWorker } from '#gateway/operations/renewal-campaign-worker.ts';
import type { RevocationJobs } from '#gateway/operations/revocation-jobs.ts';
import { pruneHistory } from '#gateway/operations/show-attempts.ts';
import { type SweepDeps, sweep } from '#gateway/operations/sweep.ts';
import { type TrustReports, tellFleetTrust } from '#gateway/operations/tell-trust.ts';
import type { WindowTeller } from '#gateway/operations/tell-window.ts';
import type { WorkLeases } from '#gateway/operations/work-leases.ts';
import type { CaTrustFollower } from './follow-ca-trust.ts';
import type { OcspService } from './ocsp-service.ts';
import type { RecurringWork } from './recurring-work.ts';

type Shared = SweepDeps &
  ReconcileDeps &
  ReconcileRestoredDeps &
  KeepPlanDeps &
  QuarantineDeps &
  ConstructorParameters<typeof RenewalCampaignWorker>[0] &
  Parameters<typeof tellFleetTrust>[0] & { cloneRules: CloneRulesBook };

type Parts = {
  /** A minute long, and so short that devices and lists need not wait (see compose.ts). */
  leases: WorkLeases;
  shortLeases: WorkLeases;
  revocations: RevocationPublisher;
  revocationJobs: RevocationJobs;
  ocsp: OcspService;
  trustReports: TrustReports;
  windows: WindowTeller;
  trustFollower: CaTrustFollower;
  expiry: ExpiryAlarmDeps;
  /** See recover: as long as the store does not know all of the journal, it must not say that it does. */
  knowsJournal: boolean;
  /** The gateway's own certificates, and the doors that show them. */
  refreshOwn: () => Promise<void>;
};

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const LOOK_EVERY = 2 * SECOND;

/** What is done again and again: with a lease by one process for all on a database, without one in each. */
export async function scheduleWork(work: RecurringWork, shared: Shared, parts: Parts): Promise<void> {
  const { leases, shortLeases, revocations } = parts;
  const once = (name: string, every: number, turn: () => Promise<void>) =>
    work.add(name, every, leases.only(name, turn));

  once('sweep', LOOK_EVERY, () => sweep(shared));
  once('reconcile', 30 * SECOND, () => reconcileEnrollments(shared, { settled: false }));
  if (parts.knowsJournal) once('journal', 30 * SECOND, () => keepJournalPosition(shared));
  once('history', MINUTE, () => pruneHistory(shared));
  const keepExpiry = () => keepExpiryAlarms(parts.expiry);
  await leases.run('expiry alarms', keepExpiry);
  once('expiry alarms', 10 * MINUTE, keepExpiry);
  const campaigns = new RenewalCampaignWorker(shared);
  work.add(
    'renewal campaigns',
    SECOND / 4,
    shortLeases.only('renewal campaigns', () => campaigns.turn()),
  );
  const keepPlan = leases.only('renewal plan', async () => void (await keepRenewalPlan(shared)));
  work.add('renewal plan', 15 * SECOND, async () => {
    await keepPlan();
    await shared.renewals.keepRate();
  });

  // These take a lease of their own where they need one.
  work.add('status lists', LOOK_EVERY, () => revocations.turn());
  work.add('revocations', LOOK_EVERY, () => parts.revocationJobs.takeUp());

  work.add('quarantine', LOOK_EVERY, () => followQuarantine(shared));
  work.add('deny set', MINUTE, async () => shared.denySet.prune(shared.clock.now()));
  work.add('clone rules', MINUTE, async () => void (await shared.cloneRules.load(shared.store)));
  // Often: as long as one is not good nobody can connect.
  work.add('own certificates', MINUTE, parts.refreshOwn);
  work.add('ocsp', 30 * SECOND, () => parts.ocsp.refresh());
  work.add('renewal calendar', HOUR, () => shared.renewals.load());
  work.add('trust reports', SECOND, () => parts.trustReports.turn());
  work.add('renewal windows', SECOND, () => parts.windows.turn());
  work.add('trust changes', SECOND, () => parts.trustFollower.turn());
  // The retained notice, anew and under a fresh signature, for those who missed it.
  work.add('trust', HOUR, async () => tellFleetTrust(shared));
}
