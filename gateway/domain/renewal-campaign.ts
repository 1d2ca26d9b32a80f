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
