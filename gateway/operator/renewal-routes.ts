import { RENEWAL_REQUEST as TAKES } from './renewal-requests.ts';
import { type RouteDefinition, route } from './route-definition.ts';

/** When certificates are renewed, and renewing many of them now. */
export const RENEWAL_ROUTES: readonly RouteDefinition[] = [
  route('planRenewals', {
    summary: 'Renewals ahead, devices that will probably be offline when they expire, time to replace all',
    response: 'RenewalPlan',
    query: TAKES.planQuery,
    answer: (operations, { query }) => operations.planRenewals(query),
  }),
  route('startRenewals', {
    summary: 'Renew all devices of a group at a controlled rate',
    status: 201,
    response: 'RenewalCampaign',
    body: TAKES.newCampaign,
    answer: (operations, { body }, { actor }) => operations.startRenewals({ ...body, actor }),
  }),
  route('listRenewals', {
    summary: 'Renewal campaigns, newest first',
    response: 'RenewalCampaignPage',
    query: TAKES.campaignsQuery,
    answer: (operations, { query }) => operations.listRenewals(query),
  }),
  route('showRenewals', {
    summary: 'How far a campaign is',
    response: 'RenewalCampaign',
    params: TAKES.campaignParams,
    answer: (operations, { params }) => operations.showRenewals(params.campaignId),
  }),
  route('listRenewalDevices', {
    summary: 'The devices of a campaign and how it went with each, by id',
    response: 'RenewalCampaignDevicePage',
    params: TAKES.campaignParams,
    query: TAKES.campaignDevicesQuery,
    answer: (operations, { params, query }) => operations.listRenewalDevices({ id: params.campaignId, ...query }),
  }),
  route('pauseRenewals', {
    summary: 'Tell nobody further for now; those who were told go on',
    response: 'RenewalCampaign',
    params: TAKES.campaignParams,
    answer: (operations, { params }, { actor }) => operations.pauseRenewals({ id: params.campaignId, actor }),
  }),
  route('resumeRenewals', {
    summary: 'Go on, at the rate of the campaign',
    response: 'RenewalCampaign',
    params: TAKES.campaignParams,
    answer: (operations, { params }, { actor }) => operations.resumeRenewals({ id: params.campaignId, actor }),
  }),
  route('abortRenewals', {
    summary: 'Tell nobody any more, also not who was offline',
    response: 'RenewalCampaign',
    params: TAKES.campaignParams,
    answer: (operations, { params }, { actor }) => operations.abortRenewals({ id: params.campaignId, actor }),
  }),
  route('retryRenewals', {
    summary: 'Give those that failed or were not reached, and only those, another turn',
    response: 'RenewalCampaign',
    params: TAKES.campaignParams,
    answer: (operations, { params }, { actor }) => operations.retryRenewals({ id: params.campaignId, actor }),
  }),
];
