import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { endAborted } from './end-aborted.ts';
import { BEING_PREPARED } from './require-startable.ts';

export type EndCutOffDeps = { store: Store; clock: Pick<Clock, 'now'> };

/** Whoever prepares a campaign writes every few milliseconds; of one that has not for so long the process has died. */
const SILENT_MS = 10_000;
const MOST = 100;

/**
 * Campaigns whose preparation a crash has cut off are aborted: nobody was told of them, nobody prepares them any more,
 * and as long as they stood there no other could be started. Should its process live after all, it finds it aborted, and
 * says so to whoever ordered it.
 */
export async function endCutOff({ store, clock }: EndCutOffDeps): Promise<void> {
  const now = clock.now();
  for (const { id, createdAt, detail, lastTurnAt } of await store.read.renewalCampaigns.list({
    state: 'paused',
    limit: MOST,
  })) {
    const lastSign = lastTurnAt ?? createdAt;
    // Either way: a clock that was set back is no reason to wait until it is there again.
    if (detail !== BEING_PREPARED || Math.abs(now - lastSign) < SILENT_MS) continue;
    await store.write(async ({ renewalCampaigns, audit }) => {
      const campaign = await renewalCampaigns.find(id);
      const isStill = campaign?.detail === BEING_PREPARED && (campaign.lastTurnAt ?? createdAt) === lastSign;
      if (!isStill || campaign.state !== 'paused') return;
      const said = 'the gateway ended while it was prepared';
      await renewalCampaigns.update(id, { state: 'aborted', finishedAt: null, detail: said });
      await audit.append(
        auditEntry({
          at: now,
          actor: 'gateway',
          action: 'renewal.aborted',
          subject: id,
          outcome: 'failed',
          detail: said,
        }),
      );
    });
    await endAborted({ store, clock }, id);
  }
}
