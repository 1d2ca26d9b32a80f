import type { CampaignResult, RenewalCampaignDevice } from '#gateway/contract/renewal-api.ts';
import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { CampaignItem } from '#gateway/domain/renewal-campaign.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { serialToRenew } from './order-renewal.ts';

/** What stands before the detail of a renewal that the gateway itself refused. */
const REFUSED = 'refused: ';

/** A successor of this certificate is in use: for every campaign that waited for it the device is done. */
export async function noteRenewed(
  tables: Pick<Tables, 'renewalCampaigns'>,
  replaced: { serial: string; by: string; now: number },
): Promise<void> {
  const { serial, by, now } = replaced;
  for (const { campaignId, deviceId } of await tables.renewalCampaigns.listBySerial(serial)) {
    const change = { state: 'renewed', detail: `new serial ${by}`, updatedAt: now } as const;
    await tables.renewalCampaigns.updateItem(campaignId, deviceId, change);
  }
}

/** The device has said that it could not renew; whether we refused it stands with its attempts. */
export async function noteFailed(
  tables: Pick<Tables, 'renewalCampaigns' | 'attempts'>,
  notice: Pick<NoticeRecord, 'id' | 'deviceId' | 'token'>,
  told: { detail: string | null; now: number },
): Promise<void> {
  const { id, deviceId } = notice;
  const serial = serialToRenew(notice);
  if (serial === undefined) return;
  const items = await tables.renewalCampaigns.listBySerial(serial);
  const isWaitedFor = ({ noticeId, state }: CampaignItem) =>
    noticeId === id && (state === 'ordered' || state === 'unreached');
  for (const item of items.filter(isWaitedFor)) {
    const [refused] = await tables.attempts.list({ deviceId, outcome: 'refused', limit: 1 });
    const isOurs = refused !== undefined && refused.at >= item.updatedAt;
    const detail = isOurs
      ? `${REFUSED}${refused.code ?? ''} in attempt ${refused.id}`
      : (told.detail ?? 'the device does not say why');
    await tables.renewalCampaigns.updateItem(item.campaignId, deviceId, {
      state: 'failed',
      detail,
      updatedAt: told.now,
    });
  }
}

/** How it stands with a device of a campaign, in the words of operators. */
export async function describeItem(
  tables: Pick<Tables, 'notices'>,
  item: CampaignItem,
): Promise<RenewalCampaignDevice> {
  const { deviceId, serial, slotAt, state, detail, updatedAt } = item;
  return { deviceId, serial, slotAt, state, result: await resultOf(tables, item), detail, updatedAt };
}

async function resultOf(
  tables: Pick<Tables, 'notices'>,
  { state, noticeId, detail }: Pick<CampaignItem, 'state' | 'noticeId' | 'detail'>,
): Promise<CampaignResult> {
  switch (state) {
    case 'waiting':
      return 'not told yet';
    case 'renewed':
      return 'renewed';
    case 'skipped':
      return 'skipped';
    case 'failed':
      return detail?.startsWith(REFUSED) === true ? 'refused' : givenUp(detail);
    case 'ordered':
    case 'unreached':
      return unheardOf(noticeId === null ? undefined : await tables.notices.find(noticeId)) ?? 'under way';
  }
}

/** What is known of a device that has said nothing of its order; undefined: it has. */
export function unheardOf(
  notice: Pick<NoticeRecord, 'state' | 'sentAt'> | undefined,
): 'offline' | 'not acknowledged' | undefined {
  switch (notice?.state) {
    case undefined:
    case 'outbox':
      return 'offline';
    case 'sent':
      return 'not acknowledged';
    case 'expired':
      return notice?.sentAt == null ? 'offline' : 'not acknowledged';
    case 'received':
    case 'done':
    case 'failed':
      return undefined;
  }
}

/** Given up without a word from the device: the detail is what was known then. */
function givenUp(detail: string | null): CampaignResult {
  return detail === 'offline' || detail === 'not acknowledged' ? detail : 'failed';
}
