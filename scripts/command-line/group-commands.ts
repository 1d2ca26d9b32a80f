import type { Command } from 'commander';
import type { GroupDetail, GroupPolicy, KeyKind, ProofLevel } from '#gateway/contract/operator-api.ts';
import { KEY_KINDS, PROOF_LEVELS } from '#gateway/contract/operator-api.ts';
import { CommandError } from './command-error.ts';
import {
  commandGroup,
  durationOption,
  type GlobalOptions,
  listOption,
  oneOf,
  usage,
  withExamples,
} from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatDuration } from './duration.ts';
import { connectOperator } from './operator-client.ts';
import { printFields, printJson, printTable } from './output.ts';

type PolicyOptions = GlobalOptions & {
  lifetime?: number;
  overlap?: number;
  pendingLapse?: number;
  ticketLife?: number;
  keys?: KeyKind[];
  proof?: ProofLevel;
  publishProof?: ProofLevel;
  readFrom?: string[];
  owner?: string;
};

const keysOption = usage((text: string): KeyKind[] => listOption(text).map(oneOf(KEY_KINDS, 'a key')));

/** `gatehouse group ...` */
export function groupCommands(): Command {
  const group = commandGroup('group', 'policy for devices that belong together');

  withExamples(
    withPolicy(group.command('add').description('make a group').argument('<name>', 'name of the group')),
    'gatehouse group add monitors --read-from default',
  ).action(async (name: string, _: unknown, command: Command) => {
    const options = command.optsWithGlobals<PolicyOptions>();
    const operator = await connectOperator(dataFolder(options.data));
    const body = { name, policy: policyOf(options) };
    showGroup(await operator.call<GroupDetail>('addGroup', { body }), options.json);
  });

  withExamples(group.command('list').description('all groups with their policy'), 'gatehouse group list').action(
    async (_: unknown, command: Command) => {
      const { data, json } = command.optsWithGlobals<GlobalOptions>();
      const operator = await connectOperator(dataFolder(data));
      const groups = await operator.list<GroupDetail>('listGroups');
      if (json) {
        printJson(groups);
        return;
      }
      printTable(
        ['group', 'devices', 'lifetime', 'proof', 'reads from', 'owner'],
        groups.map(({ name, devices, policy }) => [
          name,
          String(devices),
          formatDuration(policy.lifetimeSeconds),
          policy.proof,
          policy.readFrom.join(', ') || '-',
          policy.owner ?? '-',
        ]),
        'no groups',
      );
    },
  );

  withExamples(
    group.command('show').description('the policy of one group').argument('<name>', 'name of the group'),
    'gatehouse group show default',
  ).action(async (name: string, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    showGroup(await operator.call<GroupDetail>('showGroup', { params: [name] }), json);
  });

  withExamples(
    withPolicy(
      group.command('set').description('change the policy of a group').argument('<name>', 'name of the group'),
    ),
    'gatehouse group set default --lifetime 3d --keys ec-p256,ed25519',
    'gatehouse group set line-3 --proof tpm --publish-proof tpm-endorsed',
    'gatehouse group set monitors --read-from ""',
  ).action(async (name: string, _: unknown, command: Command) => {
    const options = command.optsWithGlobals<PolicyOptions>();
    const change = policyOf(options);
    if (Object.keys(change).length === 0) {
      throw new CommandError('USAGE', 'nothing to change was given', { advice: 'see: gatehouse group set --help' });
    }
    const operator = await connectOperator(dataFolder(options.data));
    showGroup(await operator.call<GroupDetail>('setGroup', { params: [name], body: change }), options.json);
  });

  return group;
}

function withPolicy(command: Command): Command {
  return command
    .option('--lifetime <duration>', 'how long a device certificate lives, such as 7d', durationOption)
    .option(
      '--overlap <duration>',
      'how long the old one stays good once the new one is used, such as 1h',
      durationOption,
    )
    .option('--pending-lapse <duration>', 'how long an issued one may stay unused, such as 1h', durationOption)
    .option('--ticket-life <duration>', 'how long a ticket is good, such as 24h', durationOption)
    .option('--keys <kinds>', `allowed keys, comma separated: ${KEY_KINDS.join(', ')}`, keysOption)
    .option(
      '--proof <level>',
      `lowest proof of the key: ${PROOF_LEVELS.join(', ')}`,
      oneOf(PROOF_LEVELS, 'a proof level'),
    )
    .option(
      '--publish-proof <level>',
      `lowest proof level for publishing telemetry (out/data): ${PROOF_LEVELS.join(', ')}`,
      oneOf(PROOF_LEVELS, 'a proof level'),
    )
    .option(
      '--read-from <groups>',
      'groups whose telemetry its devices may read, comma separated ("" for none)',
      listOption,
    )
    .option('--owner <owner>', 'who answers for it ("" for nobody)');
}

/** The fields that were given, in the words of the API. */
function policyOf(options: PolicyOptions): Partial<GroupPolicy> {
  return {
    ...(options.lifetime === undefined ? {} : { lifetimeSeconds: options.lifetime }),
    ...(options.overlap === undefined ? {} : { overlapSeconds: options.overlap }),
    ...(options.pendingLapse === undefined ? {} : { pendingLapseSeconds: options.pendingLapse }),
    ...(options.ticketLife === undefined ? {} : { ticketSeconds: options.ticketLife }),
    ...(options.keys === undefined ? {} : { keys: options.keys }),
    ...(options.proof === undefined ? {} : { proof: options.proof }),
    ...(options.publishProof === undefined ? {} : { publishProof: options.publishProof }),
    ...(options.readFrom === undefined ? {} : { readFrom: options.readFrom }),
    ...(options.owner === undefined ? {} : { owner: options.owner === '' ? null : options.owner }),
  };
}

function showGroup(group: GroupDetail, json: boolean | undefined): void {
  if (json) {
    printJson(group);
    return;
  }
  const { policy } = group;
  printFields({
    group: group.name,
    devices: String(group.devices),
    'policy version': String(group.version),
    'certificate lifetime': formatDuration(policy.lifetimeSeconds),
    'overlap after renewal': formatDuration(policy.overlapSeconds),
    'unused certificates lapse after': formatDuration(policy.pendingLapseSeconds),
    'tickets live': formatDuration(policy.ticketSeconds),
    keys: policy.keys.join(', '),
    'lowest proof level': policy.proof,
    'to publish telemetry': policy.publishProof ?? 'software',
    'reads telemetry of': policy.readFrom.join(', ') || 'nobody',
    owner: policy.owner ?? undefined,
  });
}
