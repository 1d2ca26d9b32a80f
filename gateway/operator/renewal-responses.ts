import { z } from 'zod';
import { CAMPAIGN_ITEM_STATES, CAMPAIGN_STATES } from '#gateway/contract/operator-api.ts';
import type * as api from '#gateway/contract/renewal-api.ts';
import { CAMPAIGN_RESULTS } from '#gateway/contract/renewal-api.ts';
import { pageOf, time } from './response-fields.ts';

const campaign = z.object({
  id: z.string(),
  group: z.string().nullable().describe('null: all groups'),
  reason: z.string(),
  state: z.enum(CAMPAIGN_STATES),
  createdAt: time,
  createdBy: z.string(),
  startsAt: time,
  endsAt: time.describe('when the last device is told, if nothing holds it up; milliseconds UTC'),
  perMinute: z.int(),
  abortPercent: z.int(),
  giveUpSeconds: z.int().describe('so long after the last device was told those that are away are waited for'),
  lastTurnAt: time.nullable().describe('when the last device so far was told; milliseconds UTC'),
  givesUpAt: time.nullable().describe('when it ends without those that are away; null: not now'),
  finishedAt: time.nullable(),
  detail: z.string().nullable(),
  devices: z.record(z.enum(CAMPAIGN_ITEM_STATES), z.int()),
}) satisfies z.ZodType<api.RenewalCampaignDetail>;

const device = z.object({
  deviceId: z.string(),
  serial: z.string().describe('the certificate to be replaced'),
  slotAt: time.describe('when it is told, or was; milliseconds UTC'),
  state: z.enum(CAMPAIGN_ITEM_STATES),
  result: z.enum(CAMPAIGN_RESULTS),
  detail: z.string().nullable(),
  updatedAt: time,
}) satisfies z.ZodType<api.RenewalCampaignDevice>;

const atRisk = z.object({
  deviceId: z.string(),
  serial: z.string(),
  notAfter: time,
  lastSeen: time,
  usualGapMs: z.number().nullable().describe('milliseconds it usually stays away'),
  expectedBack: time,
}) satisfies z.ZodType<api.DeviceAtRisk>;

/** What operators get about renewals. */
export const RENEWAL_RESPONSE = {
  RenewalPlan: z.object({
    group: z.string().nullable(),
    at: time,
    active: z.int().describe('certificates in use'),
    due: z.int().describe('of them, those whose window has begun'),
    issuesPerSecond: z.number(),
    isRateMeasured: z.boolean(),
    plannedPerSecond: z.number(),
    secondsToReplaceAll: z.int(),
    widthMs: z.number(),
    forecast: z.array(z.object({ from: time, renewals: z.int() })),
    atRisk: z.array(atRisk).describe('will probably be offline when their certificate ends'),
    examined: z.int(),
    isComplete: z.boolean(),
  }) satisfies z.ZodType<api.RenewalPlan>,
  RenewalCampaign: campaign,
  RenewalCampaignPage: pageOf(campaign),
  RenewalCampaignDevicePage: pageOf(device),
} as const;
