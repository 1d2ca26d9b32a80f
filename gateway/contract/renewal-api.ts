import type { CampaignItemState, CampaignState } from './operator-api.ts';

/** What operators get about renewals. Times are milliseconds UTC. */

/** How long a campaign waits for devices that are away, unless it is told otherwise. */
export const DEFAULT_GIVE_UP_SECONDS = 86_400;

/** A renewal of many devices, and how far it is. */
export type RenewalCampaignDetail = {
  id: string;
  /** null: all groups. */
  group: string | null;
  reason: string;
  state: CampaignState;
  createdAt: number;
  createdBy: string;
  startsAt: number;
  /** When the last device is told, if nothing holds it up. */
  endsAt: number;
  /** Devices told a minute, at most. */
  perMinute: number;
  abortPercent: number;
  /** Seconds after the last device was told, in which the gateway served; then those that are away are not waited for. */
  giveUpSeconds: number;
  /** When the last device so far was told; null: none was. */
  lastTurnAt: number | null;
  /** When it ends without those that are away; null: devices are still to be told, or it has ended. */
  givesUpAt: number | null;
  finishedAt: number | null;
  detail: string | null;
  devices: Record<CampaignItemState, number>;
};

/**
 * `offline`: told when it connects; `not acknowledged`: sent, and nothing heard; `under way`: it has the notice and
 * renews; `refused`: the gateway refused the renewal itself.
 */
export const CAMPAIGN_RESULTS = [
  'not told yet',
  'offline',
  'not acknowledged',
  'under way',
  'renewed',
  'refused',
  'failed',
  'skipped',
] as const;
export type CampaignResult = (typeof CAMPAIGN_RESULTS)[number];

export type RenewalCampaignDevice = {
  deviceId: string;
  /** The certificate to be replaced. */
  serial: string;
  /** When it is told, or was. */
  slotAt: number;
  state: CampaignItemState;
  result: CampaignResult;
  detail: string | null;
  updatedAt: number;
};

/** A device that will not be back, if it goes on as it did, before its certificate ends. */
export type DeviceAtRisk = {
  deviceId: string;
  serial: string;
  notAfter: number;
  lastSeen: number;
  /** Milliseconds it usually stays away; null: too little is known. */
  usualGapMs: number | null;
  expectedBack: number;
};

export type RenewalPlan = {
  /** null: all groups. */
  group: string | null;
  at: number;
  /** Certificates in use. */
  active: number;
  /** Of them, those whose window has begun and that are not renewed. */
  due: number;
  /** What this gateway can issue, as measured or, with nothing measured yet, assumed; and what of it is planned with. */
  issuesPerSecond: number;
  isRateMeasured: boolean;
  plannedPerSecond: number;
  /** Seconds it takes to replace all of them at the planned rate. */
  secondsToReplaceAll: number;
  /** Windows that begin in each `widthMs` from `at`. */
  widthMs: number;
  forecast: { from: number; renewals: number }[];
  atRisk: DeviceAtRisk[];
  /** Certificates that were looked at for `atRisk`, and whether there are more. */
  examined: number;
  isComplete: boolean;
};
