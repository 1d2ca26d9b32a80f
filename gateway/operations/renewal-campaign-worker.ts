import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { hasFailedTooOften } from '#gateway/domain/renewal/campaign-slot.ts';
import { type CampaignItem, givesUpAt, type RenewalCampaign } from '#gateway/domain/renewal-campaign.ts';
import type { Saturation } from '#gateway/domain/saturation.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { giveUpAbsent } from './campaign-absence.ts';
import { deliverPendingNotices } from './deliver-notices.ts';
import { endAborted, endAllAborted } from './end-aborted.ts';
import { endCutOff } from './end-cut-off.ts';
import { type OrderRenewalDeps, queueRenewal } from './order-renewal.ts';
import { lastAbleAt, OUTAGE_MS } from './renewal-outage.ts';

export type CampaignWorkerDeps = OrderRenewalDeps & { log: Log; saturation: Pick<Saturation, 'isAt'> };

/** In one transaction. */
const BATCH = 50;
/** Devices that may be told at once after a quiet moment, as seconds of the rate. */
const BURST_SECONDS = 2;
/**
 * Of the rate, while the gateway turns requests away: more would be told than can renew, and who comes in vain makes it
 * later for all. Not nothing, so that a stranger who keeps the doors busy does not stop a campaign.
 */
const SATURATED_SHARE = 0.1;
/** Counting is a look at every device of a campaign: less often the longer it only waits for those that are away. */
const COUNT_EVERY_MS = { least: 2_000, most: 60_000 };
const PAGE = 100;
/** Pages of devices that are given up in one turn. */
const PAGES_A_TURN = 5;

type Allowance = { devices: number; at: number };

/**
 * Carries campaigns out, in one process at a time: tells each device when its turn has come, no faster than the campaign
 * allows, and ends a campaign when all have ended, too many have failed, or those that are away were waited for long
 * enough. All it knows is in the database: after a restart, or in another worker, it goes on where it was.
 */
export class RenewalCampaignWorker {
  readonly #deps: CampaignWorkerDeps;
  readonly #allowances = new Map<string, Allowance>();
  readonly #countedAt = new Map<string, number>();
  #endedAbortedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: CampaignWorkerDeps) {
    this.#deps = deps;
  }

  /** To be called again and again, a few times a second. */
  async turn(): Promise<void> {
    const { store, clock } = this.#deps;
    const now = clock.now();
    await endCutOff(this.#deps);
    if (Math.abs(now - this.#endedAbortedAt) >= COUNT_EVERY_MS.most) {
      this.#endedAbortedAt = now;
      await endAllAborted(this.#deps);
    }
    for (let after: string | undefined; ; ) {
      const campaigns = await store.read.renewalCampaigns.list({ state: 'running', limit: PAGE, after });
      for (const campaign of campaigns) {
        await this.#tellDue(campaign);
        await this.#judge(campaign);
      }
      after = campaigns.at(-1)?.id;
      if (campaigns.length < PAGE) return;
    }
  }

  async #tellDue(campaign: RenewalCampaign): Promise<void> {
    const { store, clock, metrics } = this.#deps;
    const now = clock.now();
    const allowance = this.#allow(campaign, now);
    const due = await store.read.renewalCampaigns.listDue(campaign.id, now, Math.floor(allowance.devices));
    for (let first = 0; first < due.length; first += BATCH) {
      const batch = due.slice(first, first + BATCH);
      const told = await store.write(async (tables) => {
        if ((await tables.renewalCampaigns.find(campaign.id))?.state !== 'running') return undefined;
        const ordered: CampaignItem[] = [];
        for (const item of batch) if (await this.#order(tables, campaign, item, now)) ordered.push(item);
        if (ordered.length > 0) await tables.renewalCampaigns.update(campaign.id, { lastTurnAt: now });
        return ordered;
      });
      // Paused or aborted meanwhile.
      if (told === undefined) return;
      allowance.devices -= told.length;
      for (const _ of told) metrics.notice('queued');
      await Promise.all(told.map(({ deviceId }) => deliverPendingNotices(this.#deps, deviceId)));
    }
  }

  /** @returns true when the device is to be told. */
  async #order(tables: Tables, campaign: RenewalCampaign, item: CampaignItem, now: number): Promise<boolean> {
    const { deviceId, serial } = item;
    const end = async (state: 'renewed' | 'skipped', detail: string) => {
      await tables.renewalCampaigns.updateItem(campaign.id, deviceId, { state, detail, updatedAt: now });
      return false;
    };
    const device = await tables.devices.find(deviceId);
    if (device?.state !== 'enrolled') return end('skipped', `the device is ${device?.state ?? 'unknown'}`);
    const certificates = await tables.certificates.listByDevice(deviceId);
    const active = certificates.find(({ state, supersedeAt }) => state === 'active' && supersedeAt === null);
    if (active === undefined) return end('skipped', 'it has no certificate in use any more');
    if (active.serial !== serial) return end('renewed', `new serial ${active.serial}`);
    const { noticeId } = await queueRenewal(tables, this.#deps, {
      deviceId,
      active,
      now,
      actor: `campaign:${campaign.id}`,
      reason: campaign.reason,
    });
    const told = { state: 'ordered', noticeId, detail: null, updatedAt: now } as const;
    await tables.renewalCampaigns.updateItem(campaign.id, deviceId, told);
    return true;
  }

  #allow({ id, perMinute }: RenewalCampaign, now: number): Allowance {
    const isSaturated = this.#deps.saturation.isAt(this.#deps.clock.monotonic());
    const perMs = (perMinute / 60_000) * (isSaturated ? SATURATED_SHARE : 1);
    const before = this.#allowances.get(id) ?? { devices: 0, at: now - 1000 };
    const most = Math.max(1, perMs * 1000 * BURST_SECONDS);
    // A clock that went back allows nothing more, and starts counting from where it is.
    const earned = Math.max(0, now - before.at) * perMs;
    const allowance = { devices: Math.min(most, before.devices + earned), at: now };
    this.#allowances.set(id, allowance);
    return allowance;
  }

  async #judge({ id, abortPercent, lastTurnAt }: RenewalCampaign): Promise<void> {
    const { store, clock } = this.#deps;
    const now = clock.now();
    const isTelling = await store.read.renewalCampaigns.hasItems(id, 'waiting');
    if (!isTelling) {
      if (!(await store.read.renewalCampaigns.hasItems(id, 'ordered'))) return this.#end(id, 'finished');
      // From here on nothing aborts it any more: those that are given up must not take the orders from the others.
      if (await this.#isOutOfPatience(id, now)) {
        for (let page = 0; page < PAGES_A_TURN && (await giveUpAbsent(store, id, now)); ) page += 1;
        return;
      }
    }
    const quietMs = isTelling || lastTurnAt === null ? 0 : now - lastTurnAt;
    const every = Math.min(COUNT_EVERY_MS.most, Math.max(COUNT_EVERY_MS.least, quietMs / 10));
    if (Math.abs(now - (this.#countedAt.get(id) ?? 0)) < every) return;
    this.#countedAt.set(id, now);
    const counts = await store.read.renewalCampaigns.countItems(id);
    const [renewed, failed] = [counts.get('renewed') ?? 0, counts.get('failed') ?? 0];
    const all = [...counts.values()].reduce((sum, count) => sum + count, 0) - (counts.get('skipped') ?? 0);
    if (!hasFailedTooOften({ renewed, failed, all }, abortPercent)) return;
    await this.#end(id, 'aborted');
    await endAborted(this.#deps, id);
  }

  async #isOutOfPatience(id: string, now: number): Promise<boolean> {
    const { read } = this.#deps.store;
    // Read again: devices were told meanwhile.
    const campaign = await read.renewalCampaigns.find(id);
    if (campaign?.state !== 'running' || now < givesUpAt(campaign)) return false;
    // While nobody can renew nobody is given up; how long that lasts is added when it is over (see noteAble).
    return now - ((await lastAbleAt(read, now)) ?? now) < OUTAGE_MS;
  }

  async #end(id: string, state: 'aborted' | 'finished'): Promise<void> {
    const { store, clock, log } = this.#deps;
    const now = clock.now();
    const detail = await store.write(async (tables) => {
      const { renewalCampaigns } = tables;
      if ((await renewalCampaigns.find(id))?.state !== 'running') return undefined;
      // Somebody may have given some of them another turn just now.
      const isOpen =
        (await renewalCampaigns.hasItems(id, 'waiting')) || (await renewalCampaigns.hasItems(id, 'ordered'));
      if (isOpen !== (state === 'aborted')) return undefined;
      const said = describeEnd(state, await renewalCampaigns.countItems(id));
      // An aborted one is over when those that were not told will not be (see endAborted).
      await renewalCampaigns.update(id, { state, finishedAt: state === 'finished' ? now : null, detail: said });
      const outcome = state === 'finished' ? 'ok' : 'failed';
      await tables.audit.append(
        auditEntry({ at: now, actor: 'gateway', action: `renewal.${state}`, subject: id, outcome, detail: said }),
      );
      return said;
    });
    if (detail === undefined) return;
    this.#allowances.delete(id);
    this.#countedAt.delete(id);
    if (state === 'finished') log.info('renewal campaign finished', { campaign: id, detail });
    else log.error('renewal campaign aborted: too many devices failed', { campaign: id, detail });
  }
}

function describeEnd(state: 'aborted' | 'finished', counts: ReadonlyMap<CampaignItem['state'], number>): string {
  const [renewed, failed, unreached] = [
    counts.get('renewed') ?? 0,
    counts.get('failed') ?? 0,
    counts.get('unreached') ?? 0,
  ];
  if (state === 'aborted') return `${failed} of ${renewed + failed} failed`;
  return `${renewed} renewed, ${failed} failed${unreached === 0 ? '' : `, ${unreached} not reached`}`;
}
