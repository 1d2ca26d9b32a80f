import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AuditBudget } from '#gateway/domain/audit-budget.ts';
import type { Log } from '#gateway/ports/log.ts';
import { type DeliverDeps, deliverPendingNotices } from './deliver-notices.ts';
import { type QueueNoticeDeps, queueNotice } from './queue-notice.ts';

export type SendTimeDeps = DeliverDeps &
  QueueNoticeDeps & {
    log: Log;
    /** So that a device whose clock stays wrong is not told at each of its reports. */
    timeNotices: AuditBudget;
  };

/** A clock this far off, either way, makes a device judge dates wrongly sooner or later. */
const WORTH_TELLING_MS = 10 * 60_000;

/** What waits longer than this is not the time any more. */
const TIME_NOTICE_LIFE_MS = 60_000;

/** Two at once, since one may get lost, then one in ten minutes. */
export const TIME_NOTICE_BUDGET = { burst: 2, perSecond: 1 / 600, maxKeys: 200_000 };

/**
 * Tells a device the time when its report shows a clock that is wrong.
 * @param clock as reported, milliseconds UTC @returns whether it was told
 */
export async function sendTime(deps: SendTimeDeps, deviceId: DeviceId, clock: number): Promise<boolean> {
  const now = deps.clock.now();
  const aheadMs = clock - now;
  if (Math.abs(aheadMs) <= WORTH_TELLING_MS || !deps.timeNotices.take(deviceId, now)) return false;
  deps.log.info('the clock of a device is wrong', { deviceId, aheadMs });
  const notice = { kind: 'time', body: { time: now } } as const;
  await deps.store.write((tables) =>
    queueNotice(tables, deps, { deviceId, notice, now, life: TIME_NOTICE_LIFE_MS, actor: 'gateway' }),
  );
  return (await deliverPendingNotices(deps, deviceId)) > 0;
}
