import { z } from 'zod';
import { CAMPAIGN_ITEM_STATES, CAMPAIGN_STATES } from '#gateway/contract/operator-api.ts';
import { DEFAULT_GIVE_UP_SECONDS } from '#gateway/contract/renewal-api.ts';
import { groupName, page, recordId, words } from './request-fields.ts';

/** A year: what lies further ahead is planned anew many times before. */
const MOST_SECONDS = 366 * 24 * 3600;
const WEEK_SECONDS = 7 * 24 * 3600;

export const giveUpSeconds = z
  .int()
  .min(1)
  .max(MOST_SECONDS)
  .default(DEFAULT_GIVE_UP_SECONDS)
  .describe('so long after the last device was told those that are away are waited for');

/** What operators may send about renewals. */
export const RENEWAL_REQUEST = {
  campaignParams: z.strictObject({ campaignId: recordId }),
  planQuery: z.strictObject({
    group: groupName.exactOptional(),
    withinSeconds: z.coerce.number().int().min(60).max(MOST_SECONDS).default(WEEK_SECONDS).describe('how far ahead'),
  }),
  newCampaign: z.strictObject({
    group: groupName.exactOptional().describe('left out: all groups'),
    reason: words(200).default('ordered by an operator').describe('stands in each notice and the audit'),
    withinSeconds: z
      .int()
      .min(1)
      .max(MOST_SECONDS)
      .exactOptional()
      .describe('spread over this long; longer when the rate needs it'),
    perMinute: z
      .int()
      .min(1)
      .max(1_000_000)
      .exactOptional()
      .describe('devices told a minute at most; left out: half of what the gateway can issue'),
    abortPercent: z.int().min(0).max(100).default(5).describe('aborted when more of those that ended have failed'),
    giveUpSeconds,
  }),
  campaignsQuery: z.strictObject({ ...page, state: z.enum(CAMPAIGN_STATES).exactOptional() }),
  campaignDevicesQuery: z.strictObject({ ...page, state: z.enum(CAMPAIGN_ITEM_STATES).exactOptional() }),
} as const;
