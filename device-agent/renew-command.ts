import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { composeAgent } from './compose-agent.ts';
import { ControlClient } from './control/control-client.ts';
import { ControlServer } from './control/control-server.ts';
import { AgentError } from './domain/agent-error.ts';
import type { AgentStatus } from './domain/agent-status.ts';
import { openKeyAccess, recordedProvider, startAsEnrolled } from './key-access.ts';
import type { Renewed } from './operations/renewal-keeper.ts';
import { runAgent } from './operations/run-agent.ts';
import { silentLog } from './runtime/json-log.ts';
import { LAYOUT } from './state/state-layout.ts';
import { closeEnteredFolder, enterStateFolder, type StateFolder, stateOption } from './state-folder.ts';
import { askRunningAgent } from './status-command.ts';
import { print, say, sayClosed } from './terminal.ts';
import { restartProcess } from './tpm/restart-process.ts';

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
  const before = (await client.request({ op: 'status' })) as AgentStatus;
  try {
    return (await client.request({ op: 'renew' })) as Renewed;
  } catch (error) {
    const isEnding = error instanceof AgentError && (error.code === 'STOPPED' || error.code === 'AGENT_NOT_RUNNING');
    if (!isEnding || before.tlsKeyAccess !== 'pkcs11') throw error;
    say('the agent restarts for the new key');
    return await awaitRestarted(before, error);
  } finally {
    client.close();
  }
}

/** A restart takes the time that an agent needs to start; one that was ended for good is not waited for. */
const RESTART_MS = 30_000;
const LOOK_MS = 200;

/** @throws AgentError that ended the renewal in the new process; `ending` when there is no new process. */
async function awaitRestarted(before: AgentStatus, ending: AgentError): Promise<Renewed> {
  const oldSerial = before.certificate?.serial ?? '';
  const since = before.lastError?.at ?? 0;
  for (let absentSince = performance.now(); performance.now() - absentSince < RESTART_MS; await delay(LOOK_MS)) {
    const status = await askRunningAgent();
    if (!status) continue;
    absentSince = performance.now();
    const { certificate, lastError, lastAttempt } = status;
    if (certificate && certificate.serial !== oldSerial && status.connected)
      return { oldSerial, newSerial: certificate.serial, ...(lastAttempt && { attemptId: lastAttempt.id }) };
    if (lastError?.code === 'CANDIDATE_REFUSED' && lastError.at > since)
      throw new AgentError(lastError.code, lastError.message, lastError.advice ? { advice: lastError.advice } : {});
  }
  throw ending;
}

/** No agent runs: this process is one until the new certificate has had its session. */
async function renewAlone({ store, startedIn }: StateFolder): Promise<Renewed> {
  say('no agent runs: renewing here');
  const newKey = Promise.withResolvers<undefined>();
  const lock = await ControlServer.listen(LAYOUT.controlSocket);
  try {
    const provider = (await recordedProvider(store)) ?? 'software';
    const access = await openKeyAccess(store, { provider, create: false, onNewKey: () => newKey.resolve(undefined) });
    const agent = await runAgent(composeAgent({ store, log: silentLog, access }));
    try {
      const renewed = await Promise.race([agent.renewNow(), newKey.promise]);
      if (renewed) return renewed;
    } finally {
      await agent.stop();
    }
  } finally {
    await lock.close();
  }
  // The candidate is on the disk: the same command, begun anew, proves it.
  return restartProcess({ cwd: startedIn });
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
