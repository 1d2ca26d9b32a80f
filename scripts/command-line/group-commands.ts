import type { Command } from 'commander';
import type { GroupDetail } from '#gateway/contract/operator-api.ts';
import { CommandError } from './command-error.ts';
import { commandGroup, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatDuration } from './duration.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, printTable } from './output.ts';
import { type PolicyOptions, policyOf, withPolicy } from './policy-options.ts';
import { showGroup } from './show-group.ts';
import { testGroupCommand } from './test-group-command.ts';

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
        ['group', 'devices', 'lifetime', 'proof', 'approval', 'reads from', 'owner'],
        groups.map(({ name, devices, policy }) => [
          name,
          String(devices),
          formatDuration(policy.lifetimeSeconds),
          policy.proof,
          policy.approval,
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
    'gatehouse group set pumps --grace 7d --grace-decision auto',
    'gatehouse group set line-3 --approval manual --network 10.1.0.0/16 --hours "Mon-Fri 06:00-22:00"',
  ).action(async (name: string, _: unknown, command: Command) => {
    const options = command.optsWithGlobals<PolicyOptions>();
    const change = policyOf(options);
    if (Object.keys(change).length === 0) {
      throw new CommandError('USAGE', 'nothing to change was given', { advice: 'see: gatehouse group set --help' });
    }
    const operator = await connectOperator(dataFolder(options.data));
    showGroup(await operator.call<GroupDetail>('setGroup', { params: [name], body: change }), options.json);
  });

  group.addCommand(testGroupCommand());

  return group;
}
