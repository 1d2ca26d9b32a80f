import { Command } from 'commander';
import { composeAgent } from './compose-agent.ts';
import { checkAgent, type Finding } from './operations/check-agent.ts';
import { silentLog } from './runtime/json-log.ts';
import { inspectStateFolder } from './state/inspect-state-folder.ts';
import { enterStateFolder, stateOption } from './state-folder.ts';
import { askRunningAgent } from './status-command.ts';
import { print } from './terminal.ts';

export function checkCommand(): Command {
  return new Command('check')
    .description('name each thing that is wrong or missing, and what to do; exit code 0 when nothing is')
    .addOption(stateOption())
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ gatehouse-agent check --state /var/lib/gatehouse-agent')
    .action(check);
}

async function check(options: { state: string; json?: true }): Promise<void> {
  const { store } = await enterStateFolder(options.state, { create: false });
  const running = await askRunningAgent();
  const live = running ? { connected: running.connected } : undefined;
  const findings: Finding[] = [
    ...(await inspectStateFolder('.')),
    ...(await checkAgent(composeAgent({ store, log: silentLog }), live)),
  ];
  if (options.json) print(JSON.stringify(findings));
  else for (const finding of findings) print(formatFinding(finding));
  if (findings.some(({ ok }) => !ok)) process.exitCode = 1;
}

function formatFinding({ ok, what, advice }: Finding): string {
  return `${ok ? 'ok    ' : 'failed'}  ${what}${advice === undefined ? '' : `\n        next: ${advice}`}`;
}
