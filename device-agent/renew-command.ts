import { Command } from 'commander';
import { composeAgent } from './compose-agent.ts';
import { ControlClient } from './control/control-client.ts';
import { ControlServer } from './control/control-server.ts';
import { AgentError } from './domain/agent-error.ts';
import { openKeyAccess, recordedProvider, startAsEnrolled } from './key-access.ts';
import type { Renewed } from './operations/renewal-keeper.ts';
import { runAgent } from './operations/run-agent.ts';
import { silentLog } from './runtime/json-log.ts';
import { LAYOUT } from './state/state-layout.ts';
import { closeEnteredFolder, enterStateFolder, type StateFolder, stateOption } from './state-folder.ts';
import { print, say, sayClosed } from './terminal.ts';

export function renewCommand(): Command {
  return new Command('renew')
    .description('renew the certificate now, with a new key')
    .addOption(stateOption())
    .option('--timeout <seconds>', 'give up after this time', '120')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExample:\n  $ gatehouse-agent renew --state /var/lib/gatehouse-agent')
    .action(renew);
}

async function renew(options: { state: string; timeout: string; json?: true }): Promise<void> {
  const timeoutMs = 1000 * Number(options.timeout);
  if (!(timeoutMs > 0)) throw new AgentError('USAGE', '--timeout is a number of seconds');
  const folder = await enterStateFolder(options.state, { create: false });
  await closeEnteredFolder(sayClosed);
  const client = await ControlClient.connect(LAYOUT.controlSocket);
  // Restarts this process if need be; the connection to a running agent would be lost by that.
  if (!client) await startAsEnrolled(folder);
  const work = client ? renewThrough(client) : renewAlone(folder);
  const { oldSerial, newSerial, attemptId } = await within(timeoutMs, work);
  if (options.json) return print(JSON.stringify({ oldSerial, newSerial, attemptId: attemptId ?? null }));
  if (attemptId !== undefined) say(`attempt: ${attemptId}`);
  return print(`renewed: old serial ${oldSerial}, new serial ${newSerial}`);
}

async function renewThrough(client: ControlClient): Promise<Renewed> {
  say('the running agent renews');
  try {
    return (await client.request({ op: 'renew' })) as Renewed;
  } finally {
    client.close();
  }
}

/** No agent runs: this process is one until the new certificate has had its session. */
async function renewAlone({ store }: StateFolder): Promise<Renewed> {
  say('no agent runs: renewing here');
  const lock = await ControlServer.listen(LAYOUT.controlSocket);
  try {
    const provider = (await recordedProvider(store)) ?? 'software';
    const access = await openKeyAccess(store, { provider, create: false });
    const agent = await runAgent(composeAgent({ store, log: silentLog, access }));
    try {
      return await agent.renewNow();
    } finally {
      await agent.stop();
    }
  } finally {
    await lock.close();
  }
}

/** What goes on after the limit is safe to end: the candidate is on the disk and proven at the next start. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new AgentError('GATEWAY_UNREACHABLE', 'the renewal did not end in time', {
          advice: 'nothing is lost; `status` tells what it waits for',
        }),
      );
    }, ms);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
