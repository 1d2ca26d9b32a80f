import type { DeviceId } from '#gateway/contract/device-id.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { type DenySet, LONGEST_LIFE_MS } from '#gateway/domain/deny-set.ts';
import { ensureDefaultGroup } from '#gateway/operations/manage-groups.ts';
import { loadQuarantined } from '#gateway/operations/quarantine-device.ts';
import { type ReconcileDeps, reconcileEnrollments } from '#gateway/operations/reconcile-enrollments.ts';
import { type ReconcileRestoredDeps, reconcileRestored } from '#gateway/operations/reconcile-restored.ts';

export type RecoverDeps = ReconcileDeps & ReconcileRestoredDeps & { denySet: DenySet; quarantined: Set<DeviceId> };

/**
 * What a crash left open is closed before any door opens, and what a store from a backup has forgotten is learnt again.
 * @returns whether the store knows everything that the authority has signed
 */
export async function recover(deps: RecoverDeps): Promise<boolean> {
  const { store, clock, log, denySet } = deps;
  const now = clock.now();
  await ensureDefaultGroup(deps);
  await reconcileEnrollments(deps, { settled: true });
  const isWhole = await reconcileRestored(deps);
  denySet.add(await store.read.revocations.listUnexpiredSerials(now), now + LONGEST_LIFE_MS);
  await loadQuarantined(deps);
  const cut = await store.write(async (tables) => {
    const ended = await tables.sessions.endAll(now, 'gateway-restarted');
    await tables.audit.append(auditEntry({ at: now, actor: 'gateway', action: 'gateway.started', subject: 'gateway' }));
    return ended;
  });
  if (cut > 0) log.info('sessions of the last run ended', { sessions: cut });
  return isWhole;
}
