import { setTimeout as wait } from 'node:timers/promises';
import type { Command } from 'commander';
import { CAMPAIGN_STATES, type CampaignItemState, type CampaignState } from '#gateway/contract/operator-api.ts';
import type { OperatorRoute } from '#gateway/contract/operator-paths.ts';
import {
  DEFAULT_GIVE_UP_SECONDS,
  type RenewalCampaignDetail,
  type RenewalCampaignDevice,
  type RenewalPlan,
} from '#gateway/contract/renewal-api.ts';
import { CommandError, VERDICT_EXIT_CODE } from './command-error.ts';
import {
  commandGroup,
  countOption,
  durationOption,
  type GlobalOptions,
  oneOf,
  usage,
  withExamples,
} from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatDuration } from './duration.ts';
import { formatTime } from './format-time.ts';
import { connectOperator, type OperatorClient } from './operator-client.ts';
import { printJson, say } from './output.ts';
import { startProgressBar } from './progress-bar.ts';
import {
  countOf,
  describeCounts,
  printCampaign,
  printCampaignDevices,
  printCampaigns,
} from './show-renewal-campaign.ts';
import { printPlan } from './show-renewal-plan.ts';

type StartOptions = GlobalOptions & {
  group?: string;
  all?: true;
  reason?: string;
  within?: number;
  rate?: number;
  abortAt?: number;
  giveUpAfter?: number;
  wait?: true;
};

const LOOK_EVERY_MS = 1000;
const GIVE_UP_HELP = `end without those that are away so long after the last is told; they still renew later (default: ${formatDuration(DEFAULT_GIVE_UP_SECONDS)})`;

/** `5%` or `5`. */
const percentOption = usage((text) => {
  const percent = Number(text.replace(/%$/, ''));
  if (!/^\d{1,3}%?$/.test(text) || percent > 100) throw new RangeError('give a whole percentage from 0 to 100, as 5%');
  return percent;
});

/** `gatehouse renewal ...` */
export function renewalCommands(): Command {
  const renewal = commandGroup('renewal', 'when certificates are renewed, and renewing many of them now');

  withExamples(
    renewal
      .command('plan')
      .description('renewals ahead, devices that will be offline when they expire, and the time to replace all')
      .option('--group <group>', 'only devices of this group')
      .option('--within <time>', 'how far ahead, as 12h or 30d (default: 7d)', durationOption),
    'gatehouse renewal plan',
    'gatehouse renewal plan --group line-3 --within 2d',
    "gatehouse renewal plan --json | jq -r '.atRisk[].deviceId'",
  ).action(async (_: unknown, command: Command) => {
    const { data, json, group, within } = command.optsWithGlobals<
      GlobalOptions & { group?: string; within?: number }
    >();
    const operator = await connectOperator(dataFolder(data));
    const plan = await operator.call<RenewalPlan>('planRenewals', { query: { group, withinSeconds: within } });
    if (json) printJson(plan);
    else printPlan(plan, Date.now());
  });

  withExamples(
    renewal
      .command('start')
      .description('renew all devices of a group, each at a moment of its own, at a controlled rate')
      .option('--group <group>', 'the devices of this group')
      .option('--all', 'the devices of all groups')
      .option('--reason <text>', 'why; stands in each notice and the audit')
      .option('--within <time>', 'spread over this time; longer when the rate needs it', durationOption)
      .option('--rate <devices>', 'told a minute at most (default: half of what the gateway can issue)', countOption)
      .option('--abort-at <percent>', 'abort when more of those that ended have failed (default: 5%)', percentOption)
      .option('--give-up-after <time>', GIVE_UP_HELP, durationOption)
      .option('--wait', 'stay until it has ended; ending the command does not end the campaign'),
    'gatehouse renewal start --group line-3 --reason "new intermediate" --within 1h',
    'gatehouse renewal start --all --rate 500 --abort-at 2% --give-up-after 1h --wait',
  ).action(async (_: unknown, command: Command) => {
    const options = command.optsWithGlobals<StartOptions>();
    const { data, json, group, all, reason, within, rate, abortAt, giveUpAfter } = options;
    if ((group === undefined) === (all === undefined))
      throw new CommandError('USAGE', 'which devices?', { advice: 'give --group GROUP, or --all' });
    const operator = await connectOperator(dataFolder(data));
    const body = {
      group,
      reason,
      withinSeconds: within,
      perMinute: rate,
      abortPercent: abortAt,
      giveUpSeconds: giveUpAfter,
    };
    const campaign = await operator.call<RenewalCampaignDetail>('startRenewals', { body });
    if (options.wait) return watch(operator, campaign.id, json === true);
    if (json) printJson(campaign);
    else {
      say(
        `campaign ${campaign.id}: ${countOf(campaign)} devices, the last one told ${formatTime(campaign.endsAt, Date.now())}`,
      );
      say(`See how it goes: gatehouse renewal status ${campaign.id}`);
    }
    return undefined;
  });

  withExamples(
    renewal
      .command('status')
      .description('how far a campaign is and how it went with each device; without an id: all campaigns')
      .argument('[id]', 'id of the campaign')
      .option('--failed', 'its devices that failed')
      .option('--not-reached', 'its devices that were told and have not been heard of')
      .option('--devices', 'all its devices')
      .option(
        '--wait',
        `stay until it has ended; exit code ${VERDICT_EXIT_CODE.INCOMPLETE}: none failed, some were not reached`,
      )
      .option(
        '--state <state>',
        `only campaigns that are ${CAMPAIGN_STATES.join(', ')}`,
        oneOf(CAMPAIGN_STATES, 'a state'),
      ),
    'gatehouse renewal status',
    'gatehouse renewal status rc-0123456789abcdef --failed',
    "gatehouse renewal status rc-0123456789abcdef --not-reached --json | jq -r '.[].deviceId'",
  ).action(async (id: string | undefined, _: unknown, command: Command) => {
    const options = command.optsWithGlobals<
      GlobalOptions & { failed?: true; notReached?: true; devices?: true; wait?: true; state?: CampaignState }
    >();
    const { data, json = false } = options;
    const operator = await connectOperator(dataFolder(data));
    if (id === undefined) return printCampaigns(await listCampaigns(operator, options.state), json);
    if (options.wait) return watch(operator, id, json);
    if (options.failed) return printCampaignDevices(await listDevices(operator, id, 'failed'), json);
    if (options.notReached) return printCampaignDevices(await listNotReached(operator, id), json);
    if (options.devices) return printCampaignDevices(await listDevices(operator, id), json);
    const campaign = await operator.call<RenewalCampaignDetail>('showRenewals', { params: [id] });
    if (json) printJson(campaign);
    else printCampaign(campaign, Date.now());
    return undefined;
  });

  const steer = (name: string, route: OperatorRoute, description: string, done: string) =>
    withExamples(
      renewal.command(name).description(description).argument('<id>', 'id of the campaign'),
      `gatehouse renewal ${name} rc-0123456789abcdef`,
    ).action(async (id: string, _: unknown, command: Command) => {
      const { data, json } = command.optsWithGlobals<GlobalOptions>();
      const operator = await connectOperator(dataFolder(data));
      const campaign = await operator.call<RenewalCampaignDetail>(route, { params: [id], body: {} });
      if (json) printJson(campaign);
      else say(`campaign ${id} ${done}; ${describeCounts(campaign)}`);
    });
  steer('pause', 'pauseRenewals', 'tell nobody further for now; those who were told go on', 'is paused');
  steer('resume', 'resumeRenewals', 'go on, at the rate of the campaign', 'goes on');
  steer('abort', 'abortRenewals', 'tell nobody any more, also not who was offline', 'is aborted');
  steer(
    'retry',
    'retryRenewals',
    'give those that failed or were not reached, and only those, another turn',
    'goes on with those that failed or were not reached',
  );

  return renewal;
}

/** To its end; Ctrl-C ends the watching only. */
async function watch(operator: OperatorClient, id: string, json: boolean): Promise<void> {
  let campaign = await operator.call<RenewalCampaignDetail>('showRenewals', { params: [id] });
  {
    using bar = startProgressBar(countOf(campaign), `devices of campaign ${id}`);
    while (campaign.state === 'running' || campaign.state === 'paused') {
      const { renewed, failed, unreached, skipped } = campaign.devices;
      bar.advance(renewed + failed + unreached + skipped);
      await wait(LOOK_EVERY_MS);
      campaign = await operator.call<RenewalCampaignDetail>('showRenewals', { params: [id] });
    }
  }
  if (json) printJson(campaign);
  else printCampaign(campaign, Date.now());
  const { failed, unreached } = campaign.devices;
  if (campaign.state === 'finished' && failed === 0) {
    if (unreached === 0) return;
    say(`${unreached} not reached; they renew when they come back: gatehouse renewal status ${id} --not-reached`);
    process.exitCode = VERDICT_EXIT_CODE.INCOMPLETE;
    return;
  }
  throw new CommandError(
    'FAILED',
    `campaign ${id} is ${campaign.state}: ${campaign.detail ?? describeCounts(campaign)}`,
    {
      advice: `see who failed: gatehouse renewal status ${id} --failed; try those again: gatehouse renewal retry ${id}`,
    },
  );
}

function listCampaigns(operator: OperatorClient, state: CampaignState | undefined): Promise<RenewalCampaignDetail[]> {
  return operator.list('listRenewals', { state }, 100);
}

/** A page at a time, as the client's own listing, which takes no path parameter. */
async function listDevices(
  operator: OperatorClient,
  id: string,
  state?: CampaignItemState,
): Promise<RenewalCampaignDevice[]> {
  const items: RenewalCampaignDevice[] = [];
  for (let after: string | undefined; ; ) {
    const page = await operator.call<{ items: RenewalCampaignDevice[]; nextCursor: string | null }>(
      'listRenewalDevices',
      {
        params: [id],
        query: { state, limit: 500, after },
      },
    );
    items.push(...page.items);
    if (page.nextCursor === null) return items;
    after = page.nextCursor;
  }
}

/** Those that are given up, and those that are waited for. */
async function listNotReached(operator: OperatorClient, id: string): Promise<RenewalCampaignDevice[]> {
  const unreached = await listDevices(operator, id, 'unreached');
  const told = await listDevices(operator, id, 'ordered');
  return [...unreached, ...told.filter(({ result }) => result === 'offline' || result === 'not acknowledged')];
}
