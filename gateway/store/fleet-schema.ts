import type { Generated } from 'kysely';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CaGeneration } from '#gateway/domain/ca-generation.ts';
import type { IdentityAlarm } from '#gateway/domain/identity-alarm.ts';
import type { CampaignItem, RenewalCampaign } from '#gateway/domain/renewal-campaign.ts';
import type { RevocationJob, RevocationJobItem } from '#gateway/domain/revocation-job.ts';
import type { StatusChange } from '#gateway/domain/status-change.ts';

/** As in schema.ts: what a whole fleet needs beside the devices themselves. */

export type StatusChangeColumns = {
  seq: Generated<number>;
  serial: SerialNumber;
  issuer_key_id: string;
  change: StatusChange['change'];
  reason: string;
  at: number;
  not_after: number;
};

export type StatusListColumns = {
  scope: string;
  number: number;
  base_number: number | null;
  this_update: number;
  next_update: number;
  entries: number;
  seq: number;
};

export type CampaignColumns = {
  id: string;
  group_name: string | null;
  reason: string;
  state: RenewalCampaign['state'];
  created_at: number;
  created_by: string;
  starts_at: number;
  ends_at: number;
  per_minute: number;
  abort_percent: number;
  give_up_seconds: number;
  last_turn_at: number | null;
  finished_at: number | null;
  detail: string | null;
};

export type CampaignItemColumns = {
  campaign_id: string;
  device_id: DeviceId;
  serial: string;
  slot_at: number;
  state: CampaignItem['state'];
  notice_id: string | null;
  detail: string | null;
  updated_at: number;
};

export type RevocationJobColumns = {
  id: string;
  scope: RevocationJob['scope'];
  target: string;
  reason: string;
  state: RevocationJob['state'];
  rate: number | null;
  created_at: number;
  created_by: string;
  finished_at: number | null;
};

export type RevocationJobItemColumns = {
  job_id: string;
  serial: SerialNumber;
  device_id: DeviceId | null;
  state: RevocationJobItem['state'];
  closed_after_ms: number | null;
  detail: string | null;
};

export type CaGenerationColumns = {
  sha256: string;
  kind: CaGeneration['kind'];
  key_id: string;
  state: CaGeneration['state'];
  created_at: number;
  changed_at: number;
  reason: string | null;
  der: Buffer;
};

export type AlarmColumns = {
  id: string;
  device_id: DeviceId;
  kind: IdentityAlarm['kind'];
  state: IdentityAlarm['state'];
  at: number;
  evidence: string;
  decision: string | null;
  resolved_at: number | null;
  resolved_by: string | null;
};
