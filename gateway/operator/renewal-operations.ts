import type { CampaignItemState, CampaignState, Page } from '#gateway/contract/operator-api.ts';
import type { RenewalCampaignDetail, RenewalCampaignDevice, RenewalPlan } from '#gateway/contract/renewal-api.ts';

type PageQuery = { limit: number; after?: string };
type Steering = { id: string; actor: string };

/** Renewals of many devices, bound to their dependencies. */
export type RenewalOperations = {
  planRenewals(query: { group?: string; withinSeconds: number }): Promise<RenewalPlan>;
  startRenewals(order: {
    group?: string;
    reason: string;
    withinSeconds?: number;
    perMinute?: number;
    abortPercent: number;
    giveUpSeconds?: number;
    actor: string;
  }): Promise<RenewalCampaignDetail>;
  listRenewals(query: PageQuery & { state?: CampaignState }): Promise<Page<RenewalCampaignDetail>>;
  showRenewals(id: string): Promise<RenewalCampaignDetail>;
  listRenewalDevices(
    query: PageQuery & { id: string; state?: CampaignItemState },
  ): Promise<Page<RenewalCampaignDevice>>;
  pauseRenewals(order: Steering): Promise<RenewalCampaignDetail>;
  resumeRenewals(order: Steering): Promise<RenewalCampaignDetail>;
  abortRenewals(order: Steering): Promise<RenewalCampaignDetail>;
  retryRenewals(order: Steering): Promise<RenewalCampaignDetail>;
};
