import { DEFAULT_GIVE_UP_SECONDS, type RenewalCampaignDetail } from '#gateway/contract/renewal-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { campaignSlot } from '#gateway/domain/renewal/campaign-slot.ts';
import { PLANNED_SHARE } from '#gateway/domain/renewal/choose-window.ts';
import type { CampaignItem, RenewalCampaign } from '#gateway/domain/renewal-campaign.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { takeOverAbsent } from './campaign-absence.ts';
import { showCampaign } from './manage-renewal-campaigns.ts';
import type { RenewalPlanner } from './renewal-planner.ts';
import { BEING_PREPARED, requireStartable } from './require-startable.ts';

export type StartCampaignDeps = {
  store: Store;
  clock: Clock;
  random: Pick<Randomness, 'id'>;
  renewals: Pick<RenewalPlanner, 'perSecond'>;
};

export type CampaignOrder = {
  /** Left out: all devices. */
  group?: string;
  /** Only those whose certificate is of this issuing CA. */
  issuerKeyId?: string;
  reason: string;
  withinSeconds?: number;
  /** Devices told a minute, at most; left out: half of what this gateway can issue. */
  perMinute?: number;
  abortPercent: number;
  /** After the last device was told; left out: a day. */
  giveUpSeconds?: number;
  actor: string;
};

const PAGE = 500;
/** In one transaction. */
const BATCH = 100;
const MINUTE_MS = 60_000;

/**
 * A new certificate for every device of a group. Each gets a moment of its own within the time given, or within as long
 * as the rate needs when that is longer, and a signed `renew` notice when it has come. Devices that an earlier campaign
 * waits for in vain are this one's from then on.
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function startCampaign(deps: StartCampaignDeps, order: CampaignOrder): Promise<RenewalCampaignDetail> {
  const { store, clock, random, renewals } = deps;
  const group = order.group ?? null;
  await requireStartable(store.read, { group });
  const now = clock.now();
  const certificates = await listCertificates(store.read, order);
  if (certificates.length === 0)
    throw new GatewayError('STATE_CONFLICT', 'no device of these has a certificate in use');
  const perMinute = order.perMinute ?? Math.max(1, Math.floor(60 * PLANNED_SHARE * renewals.perSecond));
  const needed = Math.ceil((certificates.length * MINUTE_MS) / perMinute);
  const width = Math.max(needed, (order.withinSeconds ?? 0) * 1000);
  const campaign: RenewalCampaign = {
    id: random.id('rc'),
    group,
    reason: order.reason,
    // Nobody is told before all of its devices stand in it.
    state: 'paused',
    createdAt: now,
    createdBy: order.actor,
    startsAt: now,
    endsAt: now + width,
    perMinute,
    abortPercent: order.abortPercent,
    giveUpSeconds: order.giveUpSeconds ?? DEFAULT_GIVE_UP_SECONDS,
    lastTurnAt: null,
    finishedAt: null,
    detail: BEING_PREPARED,
  };
  const { id } = campaign;
  await store.write(async (tables) => {
    // Read again inside: two operators may have the same idea.
    await requireStartable(tables, { group });
    await tables.renewalCampaigns.insert(campaign);
  });
  const items = certificates.map((certificate): CampaignItem => {
    const slotAt = campaignSlot(certificate.deviceId, { id, startsAt: now, width });
    return { campaignId: id, ...certificate, slotAt, state: 'waiting', noticeId: null, detail: null, updatedAt: now };
  });
  for (let first = 0; first < items.length; first += BATCH) {
    await store.write(async (tables) => {
      await requireBeingPrepared(tables, id);
      const some = items.slice(first, first + BATCH);
      await tables.renewalCampaigns.addItems(some);
      // A sign of life (see endCutOff).
      await tables.renewalCampaigns.update(id, { lastTurnAt: clock.now() });
      for (const { serial } of some) await takeOverAbsent(tables, { campaignId: id, serial, now });
    });
  }
  await store.write(async (tables) => {
    await requireBeingPrepared(tables, id);
    await tables.renewalCampaigns.update(id, { state: 'running', detail: null, lastTurnAt: null });
    const detail = `${items.length} devices of ${group ?? 'all groups'}, ${perMinute} a minute: ${order.reason}`;
    await tables.audit.append(
      auditEntry({ at: now, actor: order.actor, action: 'renewal.started', subject: id, detail }),
    );
  });
  return showCampaign(deps, id);
}

/** Somebody may have aborted it already: then it stays so. */
async function requireBeingPrepared(tables: Pick<Tables, 'renewalCampaigns'>, id: string): Promise<void> {
  const campaign = await tables.renewalCampaigns.find(id);
  if (campaign?.state === 'paused' && campaign.detail === BEING_PREPARED) return;
  throw new GatewayError('STATE_CONFLICT', `campaign ${id} was ${campaign?.state ?? 'removed'} while it was prepared`);
}

type InUse = Pick<CampaignItem, 'deviceId' | 'serial'>;

async function listCertificates(
  read: Tables,
  { group, issuerKeyId }: Pick<CampaignOrder, 'group' | 'issuerKeyId'>,
): Promise<InUse[]> {
  const found: InUse[] = [];
  for (let after: string | undefined; ; ) {
    const devices = await read.devices.list({ limit: PAGE, after, ...(group === undefined ? {} : { group }) });
    const certificates = await Promise.all(devices.map(({ deviceId }) => read.certificates.listByDevice(deviceId)));
    for (const [place, { deviceId }] of devices.entries()) {
      const inUse = certificates[place]?.find(({ state, supersedeAt }) => state === 'active' && supersedeAt === null);
      if (inUse === undefined || (issuerKeyId !== undefined && inUse.issuerKeyId !== issuerKeyId)) continue;
      found.push({ deviceId, serial: inUse.serial });
    }
    after = devices.at(-1)?.deviceId;
    if (devices.length < PAGE) return found;
  }
}
