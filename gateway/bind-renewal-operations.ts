import {
  abortCampaign,
  listCampaignDevices,
  listCampaigns,
  type ManageCampaignDeps,
  pauseCampaign,
  resumeCampaign,
  retryCampaign,
  showCampaign,
} from '#gateway/operations/manage-renewal-campaigns.ts';
import { type PlanRenewalsDeps, planRenewals } from '#gateway/operations/plan-renewals.ts';
import { type StartCampaignDeps, startCampaign } from '#gateway/operations/start-renewal-campaign.ts';
import type { RenewalOperations } from './operator/renewal-operations.ts';

export type RenewalDeps = PlanRenewalsDeps & StartCampaignDeps & ManageCampaignDeps;

export function bindRenewalOperations(deps: RenewalDeps): RenewalOperations {
  return {
    planRenewals: (query) => planRenewals(deps, query),
    startRenewals: (order) => startCampaign(deps, order),
    listRenewals: (query) => listCampaigns(deps, query),
    showRenewals: (id) => showCampaign(deps, id),
    listRenewalDevices: (query) => listCampaignDevices(deps, query),
    pauseRenewals: (order) => pauseCampaign(deps, order),
    resumeRenewals: (order) => resumeCampaign(deps, order),
    abortRenewals: (order) => abortCampaign(deps, order),
    retryRenewals: (order) => retryCampaign(deps, order),
  };
}
