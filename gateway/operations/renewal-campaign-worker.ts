import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { hasFailedTooOften } from '#gateway/domain/renewal/campaign-slot.ts';
import type { CampaignItem, RenewalCampaign } from '#gateway/domain/renewal-campaign.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { resultOf } from './campaign-results.ts';
import { deliverPendingNotices } from './deliver-notices.ts';
import { eachPage, endAborted } from './manage-renewal-campaigns.ts';
import { type OrderRenewalDeps, queueRenewal } from './order-renewal.ts';

export type CampaignWorkerDeps = OrderRenewalDeps & { log: Log };

/** In one transaction. */
const BATCH = 50;
/** Devices that may be told at once after a quiet moment, as seconds of the rate. */
const BURST_SECONDS = 2;
/** Counting is a look at every device of a campaign. */
const COUNT_EVERY_MS = 2_000;
/** Beyond the last turn: how long devices have at least to end what they were told, or to come online. */
const PATIENCE_MS = 3_600_000;

type Allowance = { devices: number; at: number };

/**
 * Carries campaigns out, in one process at a time: tells each device when its turn has come, no faster than the campaign allows, and ends a
 * campaign when all have ended or too many have failed. All it knows is in the database: after a restart, or in another
 * worker, it goes on where it was.
 */
export class RenewalCampaignWorker {
  readonly #deps: CampaignWorkerDeps;
  readonly #allowances = new Map<string, Allowance>();
  readonly #countedAt = new Map<string, number>();

  constructor(deps: CampaignWorkerDeps) {
    this.#deps = deps;
  }

  /** To be called again and again, a few times a second. */
  async turn(): Promise<void> {
    const { store } = this.#deps;
    for (const campaign of await store.read.renewalCampaigns.list({ state: 'running', limit: 100 })) {
      await this.#tellDue(campaign);
      await this.#judge(campaign);
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
    const perMs = perMinute / 60_000;
    const before = this.#allowances.get(id) ?? { devices: 0, at: now - 1000 };
    const most = Math.max(1, perMs * 1000 * BURST_SECONDS);
    // A clock that went back allows nothing more, and starts counting from where it is.
    const earned = Math.max(0, now - before.at) * perMs;
    const allowance = { devices: Math.min(most, before.devices + earned), at: now };
    this.#allowances.set(id, allowance);
    return allowance;
  }

  async #judge(campaign: RenewalCampaign): Promise<void> {
    const { store, clock } = this.#deps;
    const now = clock.now();
    const { id, endsAt, startsAt, abortPercent } = campaign;
    if (Math.abs(now - (this.#countedAt.get(id) ?? 0)) < COUNT_EVERY_MS) return;
    this.#countedAt.set(id, now);
    const counts = await store.read.renewalCampaigns.countItems(id);
    const count = (state: CampaignItem['state']) => counts.get(state) ?? 0;
    const [renewed, failed, waiting, ordered] = [count('renewed'), count('failed'), count('waiting'), count('ordered')];
    const all = renewed + failed + waiting + ordered;
    if (hasFailedTooOften({ renewed, failed, all }, abortPercent)) {
      if (waiting + ordered > 0) return this.#abort(id, `${failed} of ${renewed + failed} failed`);
    }
    if (waiting > 0) return;
    if (ordered === 0) return this.#finish(id, `${renewed} renewed, ${failed} failed`);
    if (now < endsAt + Math.max(PATIENCE_MS, endsAt - startsAt)) return;
    await eachPage(store, id, 'ordered', async (tables, item) => {
      const result = await resultOf(tables, item);
      const detail = item.detail ?? (result === 'under way' ? 'it has begun, and nothing more was heard' : result);
      await tables.renewalCampaigns.updateItem(id, item.deviceId, { state: 'failed', detail, updatedAt: now });
    });
    await this.#finish(id, `${renewed} renewed, ${failed + ordered} failed`);
  }

  async #abort(id: string, detail: string): Promise<void> {
    await this.#end(id, 'aborted', detail);
    await endAborted(this.#deps, id);
  }

  #finish(id: string, detail: string): Promise<void> {
    return this.#end(id, 'finished', detail);
  }

  async #end(id: string, state: 'aborted' | 'finished', detail: string): Promise<void> {
    const { store, clock, log } = this.#deps;
    const now = clock.now();
    this.#allowances.delete(id);
    this.#countedAt.delete(id);
    const ended = await store.write(async (tables) => {
      if ((await tables.renewalCampaigns.find(id))?.state !== 'running') return false;
      await tables.renewalCampaigns.update(id, { state, finishedAt: now, detail });
      const outcome = state === 'finished' ? 'ok' : 'failed';
      await tables.audit.append(
        auditEntry({ at: now, actor: 'gateway', action: `renewal.${state}`, subject: id, outcome, detail }),
      );
      return true;
    });
    if (!ended) return;
    if (state === 'finished') log.info('renewal campaign finished', { campaign: id, detail });
    else log.error('renewal campaign aborted: too many devices failed', { campaign: id, detail });
  }
}
