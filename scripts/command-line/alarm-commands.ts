import type { Command } from 'commander';
import { CLONE_REACTIONS, type CloneRules, type IdentityAlarmDetail } from '#gateway/contract/alarm-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { ALARM_STATES, type AlarmState } from '#gateway/contract/operator-api.ts';
import {
  commandGroup,
  countOption,
  deviceIdArgument,
  durationOption,
  type GlobalOptions,
  oneOf,
  withExamples,
} from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatDuration } from './duration.ts';
import { connectOperator } from './operator-client.ts';
import { printFields, printJson, say } from './output.ts';
import { printAlarm, printAlarms } from './show-alarm.ts';

const STATES = [...ALARM_STATES, 'all'] as const;
const ALARM = 'id of the alarm, as `alarm list` shows it';

type ListOptions = GlobalOptions & { state: AlarmState | 'all'; device?: DeviceId };
type RuleOptions = GlobalOptions & {
  reaction?: CloneRules['reaction'];
  takeOvers?: number;
  takeOversWithin?: number;
  twoPlacesWithin?: number;
  supersededUses?: number;
  supersededWithin?: number;
};

/** `gatehouse alarm ...` */
export function alarmCommands(): Command {
  const alarm = commandGroup('alarm', 'identities that seem to be in two places: what was seen, what was decided');

  withExamples(
    alarm
      .command('list')
      .description('alarms, newest first')
      .option('--state <state>', `one of ${STATES.join(', ')}`, oneOf(STATES, 'a state'), 'open')
      .option('--device <id>', 'only those about this device', deviceIdArgument),
    'gatehouse alarm list',
    "gatehouse alarm list --json | jq -r '.[].deviceId'",
  ).action(async (_: unknown, command: Command) => {
    const { data, json, state, device } = command.optsWithGlobals<ListOptions>();
    const operator = await connectOperator(dataFolder(data));
    const query = { state: state === 'all' ? undefined : state, deviceId: device };
    const alarms = await operator.list<IdentityAlarmDetail>('listAlarms', query);
    if (json) {
      printJson(alarms);
      return;
    }
    printAlarms(alarms, Date.now());
    if (alarms.some((entry) => entry.state === 'open')) say('Look at one: gatehouse alarm show ALARM');
  });

  withExamples(
    alarm.command('show').description('what was seen, and what can be done').argument('<alarm>', ALARM),
    'gatehouse alarm show al-0123456789abcdef',
  ).action(async (id: string, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const shown = await operator.call<IdentityAlarmDetail>('showAlarm', { params: [id] });
    if (json) {
      printJson(shown);
      return;
    }
    printAlarm(shown, Date.now());
    if (shown.state === 'resolved') return;
    const { deviceId } = shown;
    say('A copied software key cannot be told from the original. What to do:');
    say(`  a copy exists: gatehouse device revoke ${deviceId} --reason keyCompromise, then a new ticket for the one`);
    say(`                 at hand: gatehouse device add ${deviceId} --new-ticket`);
    say(`  no copy (a restored backup): gatehouse device release-quarantine ${deviceId} --reason TEXT`);
    say(`Each of the two closes the alarm. If neither is needed: gatehouse alarm resolve ${id} --decision TEXT`);
  });

  withExamples(
    alarm
      .command('resolve')
      .description('close an alarm; a quarantine stays until `device release-quarantine`')
      .argument('<alarm>', ALARM)
      .requiredOption('--decision <text>', 'what was found out; stands in the audit'),
    'gatehouse alarm resolve al-0123456789abcdef --decision "test bench ran from a copied card"',
  ).action(async (id: string, _: unknown, command: Command) => {
    const { data, json, decision } = command.optsWithGlobals<GlobalOptions & { decision: string }>();
    const operator = await connectOperator(dataFolder(data));
    const resolved = await operator.call<IdentityAlarmDetail>('resolveAlarm', { params: [id], body: { decision } });
    if (json) printJson(resolved);
    else say(`${id} about ${resolved.deviceId} is resolved`);
  });

  withExamples(
    alarm
      .command('rules')
      .description('what counts as a sign of a copied identity; with options: change it, from now on')
      .option('--reaction <reaction>', `one of ${CLONE_REACTIONS.join(', ')}`, oneOf(CLONE_REACTIONS, 'a reaction'))
      .option('--take-overs <count>', 'to and fro between two networks, unexplained by the device', countOption)
      .option('--take-overs-within <duration>', 'in which they count', durationOption)
      .option('--two-places-within <duration>', 'from a sign in one network to another run in another', durationOption)
      .option('--superseded-uses <count>', 'uses of a certificate whose successor is in use', countOption)
      .option('--superseded-within <duration>', 'in which they count', durationOption),
    'gatehouse alarm rules',
    'gatehouse alarm rules --take-overs 8 --take-overs-within 10m',
    'gatehouse alarm rules --reaction alarm',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, ...wish } = command.optsWithGlobals<RuleOptions>();
    const operator = await connectOperator(dataFolder(data));
    const change = Object.fromEntries(
      Object.entries({
        reaction: wish.reaction,
        pingPongTakeOvers: wish.takeOvers,
        pingPongSeconds: wish.takeOversWithin,
        twoPlacesSeconds: wish.twoPlacesWithin,
        supersededUses: wish.supersededUses,
        supersededSeconds: wish.supersededWithin,
      }).filter(([, value]) => value !== undefined),
    );
    const rules =
      Object.keys(change).length === 0
        ? await operator.call<CloneRules>('showCloneRules')
        : await operator.call<CloneRules>('setCloneRules', { body: change });
    if (json) printJson(rules);
    else printRules(rules);
  });

  return alarm;
}

function printRules(rules: CloneRules): void {
  printFields({
    reaction: rules.reaction,
    'take-overs': `${rules.pingPongTakeOvers} within ${formatDuration(rules.pingPongSeconds)}`,
    'two places': `within ${formatDuration(rules.twoPlacesSeconds)}`,
    'superseded uses': `${rules.supersededUses} within ${formatDuration(rules.supersededSeconds)}`,
  });
}
