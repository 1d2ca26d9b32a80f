import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CaGeneration } from '#gateway/domain/ca-generation.ts';
import type { IdentityAlarm } from '#gateway/domain/identity-alarm.ts';
import type { CampaignItem, RenewalCampaign } from '#gateway/domain/renewal-campaign.ts';
import type { RevocationJob, RevocationJobItem } from '#gateway/domain/revocation-job.ts';
import type { StatusChange, StatusList } from '#gateway/domain/status-change.ts';
import type { PageOrder } from './page-order.ts';

export interface StatusChangeTable {
  append(change: Omit<StatusChange, 'seq'>): Promise<void>;
  /** In order, those after `seq`. */
  listAfter(seq: number, limit: number): Promise<StatusChange[]>;
  /** 0 when there is none. */
  newestSeq(): Promise<number>;
  /** Drops at most `limit` older than `before` of certificates that ended before `endedBefore`. @returns how many went. */
  prune(endedBefore: number, before: number, limit: number): Promise<number>;
}

export interface StatusListTable {
  insert(list: StatusList): Promise<void>;
  latest(scope: string): Promise<StatusList | undefined>;
  /** The highest number of any scope, 0 when there is none. */
  highestNumber(): Promise<number>;
  /** Drops all but the newest `keep` of the scope. */
  prune(scope: string, keep: number): Promise<void>;
}

export interface RenewalCampaignTable {
  insert(campaign: RenewalCampaign): Promise<void>;
  find(id: string): Promise<RenewalCampaign | undefined>;
  update(
    id: string,
    change: Partial<Pick<RenewalCampaign, 'state' | 'finishedAt' | 'detail' | 'endsAt' | 'lastTurnAt'>>,
  ): Promise<void>;
  /** Newest first. */
  list(page: PageOrder & { state?: RenewalCampaign['state'] }): Promise<RenewalCampaign[]>;
  addItems(items: readonly CampaignItem[]): Promise<void>;
  findItem(campaignId: string, deviceId: DeviceId): Promise<CampaignItem | undefined>;
  updateItem(
    campaignId: string,
    deviceId: DeviceId,
    change: Partial<Pick<CampaignItem, 'state' | 'noticeId' | 'detail' | 'slotAt' | 'serial' | 'updatedAt'>>,
  ): Promise<void>;
  /** Waiting ones of this campaign whose slot has come, earliest first. */
  listDue(campaignId: string, now: number, limit: number): Promise<CampaignItem[]>;
  /** Of any campaign that waits, or waited in vain, for this certificate to be replaced. */
  listBySerial(serial: string): Promise<CampaignItem[]>;
  /** By device id. */
  listItems(campaignId: string, page: PageOrder & { state?: CampaignItem['state'] }): Promise<CampaignItem[]>;
  countItems(campaignId: string): Promise<Map<CampaignItem['state'], number>>;
  /** Whether one is in this state, without counting them. */
  hasItems(campaignId: string, state: CampaignItem['state']): Promise<boolean>;
}

export interface RevocationJobTable {
  insert(job: RevocationJob, items: readonly RevocationJobItem[]): Promise<void>;
  /** Those that are not items of it yet. @returns how many were new. */
  addItems(items: readonly RevocationJobItem[]): Promise<number>;
  find(id: string): Promise<RevocationJob | undefined>;
  update(id: string, change: Partial<Pick<RevocationJob, 'state' | 'finishedAt' | 'rate'>>): Promise<void>;
  /** Newest first. */
  list(page: PageOrder & { state?: RevocationJob['state'] }): Promise<RevocationJob[]>;
  /** By serial. */
  listItems(jobId: string, page: PageOrder & { state?: RevocationJobItem['state'] }): Promise<RevocationJobItem[]>;
  updateItem(
    jobId: string,
    serial: SerialNumber,
    change: Partial<Pick<RevocationJobItem, 'state' | 'closedAfterMs' | 'detail'>>,
  ): Promise<void>;
  countItems(jobId: string): Promise<Map<RevocationJobItem['state'], number>>;
  /** closedAfterMs of those whose session was closed, shortest first. */
  listClosedAfter(jobId: string): Promise<number[]>;
}

export interface CaGenerationTable {
  /** The same certificate again takes the place of the one before. */
  put(generation: CaGeneration): Promise<void>;
  list(): Promise<CaGeneration[]>;
}

export interface IdentityAlarmTable {
  insert(alarm: IdentityAlarm): Promise<void>;
  find(id: string): Promise<IdentityAlarm | undefined>;
  update(
    id: string,
    change: Partial<Pick<IdentityAlarm, 'state' | 'decision' | 'resolvedAt' | 'resolvedBy' | 'evidence'>>,
  ): Promise<void>;
  listOpenByDevice(deviceId: DeviceId): Promise<IdentityAlarm[]>;
  /** Newest first. */
  list(page: PageOrder & { state?: IdentityAlarm['state']; deviceId?: DeviceId }): Promise<IdentityAlarm[]>;
}
