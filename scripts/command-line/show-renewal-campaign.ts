import type { RenewalCampaignDetail, RenewalCampaignDevice } from '#gateway/contract/renewal-api.ts';
import { formatDuration } from './duration.ts';
import { formatTime } from './format-time.ts';
import { printFields, printJson, printTable } from './output.ts';
import { formatSpan } from './show-renewal-plan.ts';

export function printCampaign(campaign: RenewalCampaignDetail, now: number): void {
  const { id, group, reason, state, detail, createdBy, startsAt, endsAt, perMinute, abortPercent } = campaign;
  const patience = `${formatDuration(campaign.giveUpSeconds)} after the last is told`;
  printFields({
    campaign: id,
    state: detail === null ? state : `${state} (${detail})`,
    group: group ?? 'all',
    reason,
    started: `${formatTime(startsAt, now)} by ${createdBy}`,
    'last device told': formatTime(endsAt, now),
    rate: `${perMinute} a minute, over ${formatSpan(endsAt - startsAt)}`,
    'aborted above': `${abortPercent} % failed`,
    'gives up who is away':
      campaign.givesUpAt === null ? patience : `${patience}: ${formatTime(campaign.givesUpAt, now)}`,
    devices: describeCounts(campaign),
  });
}

export function printCampaigns(campaigns: RenewalCampaignDetail[], json: boolean): void {
  if (json) return printJson(campaigns);
  const now = Date.now();
  return printTable(
    ['campaign', 'group', 'state', 'started', 'devices', 'renewed', 'failed', 'not reached', 'reason'],
    campaigns.map((campaign) => [
      campaign.id,
      campaign.group ?? 'all',
      campaign.state,
      formatTime(campaign.startsAt, now),
      String(countOf(campaign)),
      String(campaign.devices.renewed),
      String(campaign.devices.failed),
      String(campaign.devices.unreached),
      campaign.reason,
    ]),
    'no campaigns; the first: gatehouse renewal start --group GROUP',
  );
}

export function printCampaignDevices(devices: RenewalCampaignDevice[], json: boolean): void {
  if (json) return printJson(devices);
  const now = Date.now();
  return printTable(
    ['device', 'result', 'since', 'detail'],
    devices.map(({ deviceId, result, updatedAt, detail }) => [
      deviceId,
      result,
      formatTime(updatedAt, now),
      detail ?? '-',
    ]),
    'none',
  );
}

export function countOf({ devices }: RenewalCampaignDetail): number {
  return Object.values(devices).reduce((sum, count) => sum + count, 0);
}

export function describeCounts(campaign: RenewalCampaignDetail): string {
  const { renewed, failed, ordered, waiting, unreached, skipped } = campaign.devices;
  const parts = [`${renewed} renewed`, `${failed} failed`, `${ordered} told`, `${waiting} to be told`];
  if (unreached > 0) parts.push(`${unreached} not reached`);
  if (skipped > 0) parts.push(`${skipped} skipped`);
  return `${countOf(campaign)}: ${parts.join(', ')}`;
}
