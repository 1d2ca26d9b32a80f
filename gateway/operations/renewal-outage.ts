import type { Tables } from '#gateway/ports/store.ts';

/** When devices could renew last: this gateway ran, and its authority answered. */
const ABLE_SETTING = 'renewal.able-at';
/** It is noted every minute; a longer silence than this is an outage, and agents try again within minutes of a shorter. */
export const OUTAGE_MS = 3 * 60_000;

/** @returns undefined when nothing is known, or a clock was set back. */
export async function lastAbleAt({ settings }: Pick<Tables, 'settings'>, now: number): Promise<number | undefined> {
  const ableAt = Number((await settings.get(ABLE_SETTING)) ?? Number.NaN);
  return Number.isSafeInteger(ableAt) && ableAt <= now ? ableAt : undefined;
}

/**
 * Devices can renew. The time in which they could not is none in which a campaign has waited for those that are away.
 * @param outageMs 0: there was none
 */
export async function noteAble(
  { settings, renewalCampaigns }: Pick<Tables, 'settings' | 'renewalCampaigns'>,
  { now, outageMs }: { now: number; outageMs: number },
): Promise<void> {
  await settings.set(ABLE_SETTING, String(now));
  if (outageMs < OUTAGE_MS) return;
  for (let after: string | undefined; ; ) {
    const page = await renewalCampaigns.list({ state: 'running', limit: 100, after });
    for (const { id, lastTurnAt, endsAt } of page) {
      const from = lastTurnAt ?? endsAt;
      if (from < now) await renewalCampaigns.update(id, { lastTurnAt: Math.min(now, from + outageMs) });
    }
    after = page.at(-1)?.id;
    if (after === undefined) return;
  }
}
