import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { CampaignItem } from '#gateway/domain/renewal-campaign.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { isRefusal, unheardOf } from './campaign-results.ts';

/** In one transaction: a few milliseconds, so that the doors have their turn. */
const PAGE = 100;

/**
 * The patience of a campaign is over: of its devices that were told and have no result, those that are away are not
 * waited for any more, and those that are there and silent have failed. A page a call, and the next goes on where this
 * one, or a crash, has ended. No order is withdrawn: whoever comes back while its certificate lives is still told.
 * @returns whether there are more
 */
export async function giveUpAbsent(store: Store, id: string, now: number): Promise<boolean> {
  const items = await store.read.renewalCampaigns.listItems(id, { state: 'ordered', limit: PAGE });
  await store.write(async (tables) => {
    for (const { deviceId } of items) {
      // Read again inside: it may have renewed since.
      const item = await tables.renewalCampaigns.findItem(id, deviceId);
      if (item?.state !== 'ordered') continue;
      await tables.renewalCampaigns.updateItem(id, deviceId, {
        ...(await conclude(tables, item, now)),
        updatedAt: now,
      });
    }
  });
  return items.length === PAGE;
}

async function conclude(
  tables: Tables,
  item: CampaignItem,
  now: number,
): Promise<Pick<CampaignItem, 'state' | 'detail'>> {
  const { deviceId, serial, noticeId } = item;
  const device = await tables.devices.find(deviceId);
  if (device?.state !== 'enrolled') return { state: 'skipped', detail: `the device is ${device?.state ?? 'unknown'}` };
  // It was there, and we refused it.
  if (isRefusal(item.detail)) return { state: 'failed', detail: item.detail };
  const notice = noticeId === null ? undefined : await tables.notices.find(noticeId);
  const unheard = unheardOf(notice);
  if (unheard === undefined) return { state: 'failed', detail: 'it has begun, and nothing more was heard' };
  const session = await tables.sessions.find(deviceId);
  if (unheard === 'not acknowledged' && session?.current != null) return { state: 'failed', detail: unheard };
  const certificate = await tables.certificates.find(serial);
  const lastSeen = session?.current?.since ?? session?.last?.endedAt;
  const seen = lastSeen === undefined ? 'never connected' : `last connected ${new Date(lastSeen).toISOString()}`;
  const isOver = certificate === undefined || certificate.notAfter <= now;
  return { state: 'unreached', detail: isOver ? `${seen}; its certificate has ended` : seen };
}

/**
 * A campaign has this device from now on: others that only wait for it to come back do so no more. Their order stays
 * the one there is; a device that is connected, or has begun, is left to whoever told it.
 */
export async function takeOverAbsent(
  tables: Pick<Tables, 'renewalCampaigns' | 'notices' | 'sessions'>,
  { campaignId, serial, now }: { campaignId: string; serial: string; now: number },
): Promise<void> {
  for (const item of await tables.renewalCampaigns.listBySerial(serial)) {
    if (item.campaignId === campaignId || (item.state !== 'ordered' && item.state !== 'unreached')) continue;
    if (!(await isAway(tables, item))) continue;
    await tables.renewalCampaigns.updateItem(item.campaignId, item.deviceId, {
      state: 'unreached',
      detail: `taken over by ${campaignId}`,
      updatedAt: now,
    });
  }
}

async function isAway(
  { notices, sessions }: Pick<Tables, 'notices' | 'sessions'>,
  { deviceId, noticeId, detail }: Pick<CampaignItem, 'deviceId' | 'noticeId' | 'detail'>,
): Promise<boolean> {
  if (isRefusal(detail)) return false;
  const notice: NoticeRecord | undefined = noticeId === null ? undefined : await notices.find(noticeId);
  return unheardOf(notice) !== undefined && (await sessions.find(deviceId))?.current == null;
}
