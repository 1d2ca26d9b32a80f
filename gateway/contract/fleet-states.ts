/** States and kinds of what concerns a whole fleet; told as part of the operator API (see operator-api.ts). */

/** `running`: renewals are ordered slot by slot; `finished`: every device has ended, or was waited for long enough. */
export const CAMPAIGN_STATES = ['running', 'paused', 'aborted', 'finished'] as const;
export type CampaignState = (typeof CAMPAIGN_STATES)[number];
/** `unreached`: not waited for any more; its order stands, and how it went is noted when it comes back. */
export const CAMPAIGN_ITEM_STATES = ['waiting', 'ordered', 'renewed', 'failed', 'unreached', 'skipped'] as const;
export type CampaignItemState = (typeof CAMPAIGN_ITEM_STATES)[number];

export const REVOCATION_SCOPES = ['device', 'certificate', 'group', 'key', 'lineage', 'issuer'] as const;
export type RevocationScope = (typeof REVOCATION_SCOPES)[number];
export const REVOCATION_JOB_STATES = ['running', 'paused', 'cancelled', 'finished'] as const;
export type RevocationJobState = (typeof REVOCATION_JOB_STATES)[number];
export const REVOCATION_JOB_ITEM_STATES = ['waiting', 'revoked', 'unchanged', 'failed'] as const;
export type RevocationJobItemState = (typeof REVOCATION_JOB_ITEM_STATES)[number];

/** In this order, and no way back; `tainted`: what it issued is to be replaced. */
export const CA_GENERATION_STATES = [
  'prepared',
  'announced',
  'active',
  'superseded',
  'tainted',
  'retired',
  'discarded',
] as const;
export type CaGenerationState = (typeof CA_GENERATION_STATES)[number];

export const ALARM_KINDS = [
  'two places',
  'take-over ping-pong',
  'superseded certificate used',
  'count went back',
] as const;
export type AlarmKind = (typeof ALARM_KINDS)[number];
export const ALARM_STATES = ['open', 'resolved'] as const;
export type AlarmState = (typeof ALARM_STATES)[number];
