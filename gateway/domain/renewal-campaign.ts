import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CampaignItemState, CampaignState } from '#gateway/contract/operator-api.ts';

/** A renewal of many devices that an operator ordered. */
export type RenewalCampaign = {
  id: string;
  /** null: all groups. */
  group: string | null;
  reason: string;
  state: CampaignState;
  createdAt: number;
  createdBy: string;
  startsAt: number;
  endsAt: number;
  perMinute: number;
  /** Aborted when more of those that ended than this have failed. */
  abortPercent: number;
  /** Seconds after the last turn, after which devices that are away are not waited for any more. */
  giveUpSeconds: number;
  /**
   * When the last device so far was told, moved on by the time in which nobody could renew; null: none was. While it is
   * being prepared: the last sign of that.
   */
  lastTurnAt: number | null;
  finishedAt: number | null;
  detail: string | null;
};

export type CampaignItem = {
  campaignId: string;
  deviceId: DeviceId;
  /** The certificate to be replaced. */
  serial: string;
  slotAt: number;
  state: CampaignItemState;
  noticeId: string | null;
  detail: string | null;
  updatedAt: number;
};

/** When a campaign that has told all of its devices ends without those that are away. */
export function givesUpAt({
  lastTurnAt,
  endsAt,
  giveUpSeconds,
}: Pick<RenewalCampaign, 'lastTurnAt' | 'endsAt' | 'giveUpSeconds'>): number {
  return (lastTurnAt ?? endsAt) + giveUpSeconds * 1000;
}
