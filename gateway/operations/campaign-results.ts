import type { CampaignResult, RenewalCampaignDevice } from '#gateway/contract/renewal-api.ts';
import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { CampaignItem } from '#gateway/domain/renewal-campaign.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { readRenewNotice } from './order-renewal.ts';

/** What stands before the detail of a renewal that the gateway itself refused. */
const REFUSED = 'refused: ';

/** Whether this is why the gateway refused a renewal, as noteRefused has kept it. */
export function isRefusal(detail: string | null): detail is string {
  return detail?.startsWith(REFUSED) === true;
}

/** Told, and without a result. */
function isOpen(state: CampaignItem['state']): boolean {
  return state === 'ordered' || state === 'unreached';
}

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

/**
 * We refuse a renewal of this certificate: where a campaign waits for it, the reason is kept, for when the device says
 * that it could not renew. To be awaited before the device is answered, or its word could come first. The same reason
 * again writes nothing, so a device that asks in a loop does not either.
 * @returns true when a campaign did not know it yet
 */
export async function noteRefused(
  store: Pick<Store, 'read' | 'write'>,
  refusal: { serial: string; code: string; attemptId: string },
): Promise<boolean> {
  const { serial, code, attemptId } = refusal;
  const isNews = ({ state, detail }: CampaignItem) =>
    isOpen(state) && detail?.startsWith(`${REFUSED}${code} `) !== true;
  if (!(await store.read.renewalCampaigns.listBySerial(serial)).some(isNews)) return false;
  return store.write(async ({ renewalCampaigns }) => {
    const items = (await renewalCampaigns.listBySerial(serial)).filter(isNews);
    const detail = `${REFUSED}${code} in attempt ${attemptId}`;
    for (const { campaignId, deviceId } of items) await renewalCampaigns.updateItem(campaignId, deviceId, { detail });
    return items.length > 0;
  });
}

/** The device has said that it could not renew; when we refused it, that is the reason. */
export async function noteFailed(
  tables: Pick<Tables, 'renewalCampaigns'>,
  notice: Pick<NoticeRecord, 'id' | 'deviceId' | 'kind' | 'token'>,
  told: { detail: string | null; now: number },
): Promise<void> {
  const { id, deviceId } = notice;
  const serial = readRenewNotice(notice)?.serial;
  if (serial === undefined) return;
  const items = await tables.renewalCampaigns.listBySerial(serial);
  const isWaitedFor = ({ noticeId, state }: CampaignItem) => noticeId === id && isOpen(state);
  for (const item of items.filter(isWaitedFor)) {
    const refusal = isRefusal(item.detail) ? item.detail : undefined;
    const detail = refusal ?? told.detail ?? 'the device does not say why';
    const change = { state: 'failed', detail, updatedAt: told.now } as const;
    await tables.renewalCampaigns.updateItem(item.campaignId, deviceId, change);
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
      return isRefusal(detail) ? 'refused' : givenUp(detail);
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
