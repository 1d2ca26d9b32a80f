import type { DeviceId } from '#gateway/contract/device-id.ts';
import { AttemptBudget } from '#gateway/domain/attempt-budget.ts';
import { AuditBudget } from '#gateway/domain/audit-budget.ts';
import { IdentityTrails } from '#gateway/domain/clone/identity-trails.ts';
import { DenySet } from '#gateway/domain/deny-set.ts';
import { Saturation } from '#gateway/domain/saturation.ts';
import { CloneRulesBook } from '#gateway/operations/clone-rules-book.ts';
import { NoticeAcks } from '#gateway/operations/notice-acks.ts';
import { type PlannerDeps, RenewalPlanner } from '#gateway/operations/renewal-planner.ts';
import { TIME_NOTICE_BUDGET } from '#gateway/operations/send-time.ts';

/**
 * What operations share in memory. None of it is the only copy of anything: it is read again from the database at the
 * start, or begins anew.
 */
export function openMemory(deps: PlannerDeps) {
  return {
    denySet: new DenySet(),
    acks: new NoticeAcks(),
    quarantined: new Set<DeviceId>(),
    trails: new IdentityTrails(),
    cloneRules: new CloneRulesBook(),
    renewals: new RenewalPlanner(deps),
    saturation: new Saturation(),
    refusals: new AuditBudget({ burst: 60, perSecond: 0.2, maxKeys: 10_000 }),
    attemptRows: new AttemptBudget(new AuditBudget({ burst: 20, perSecond: 0.1, maxKeys: 10_000 })),
    timeNotices: new AuditBudget(TIME_NOTICE_BUDGET),
    sessionRows: new AuditBudget({ burst: 60, perSecond: 1 / 60, maxKeys: 200_000 }),
  };
}
