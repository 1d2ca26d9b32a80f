import { Command } from 'commander';
import { composeAgent, type KeyAccess } from './compose-agent.ts';
import { AgentError } from './domain/agent-error.ts';
import { chooseTcti, hasTpm, openKeyAccess, readingKeys, recordedProvider, startWithTpm } from './key-access.ts';
import { checkAgent, type Finding, failed } from './operations/check-agent.ts';
import { silentLog } from './runtime/json-log.ts';
import { inspectStateFolder } from './state/inspect-state-folder.ts';
import { MemoryStateStore } from './state/memory-state-store.ts';
import { enterStateFolder, type StateFolder, stateOption, tctiOption } from './state-folder.ts';
import { askRunningAgent } from './status-command.ts';
import { print } from './terminal.ts';
import { checkTpm } from './tpm/check-tpm.ts';

export function checkCommand(): Command {
  return new Command('check')
    .description('name each thing that is wrong or missing, and what to do; exit code 0 when nothing is')
    .addOption(stateOption())
    .addOption(tctiOption())
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      `
Example:
  $ gatehouse-agent check --state /var/lib/gatehouse-agent

GATEHOUSE_TPM_TLS=provider or =pkcs11 in the environment of a command names the way of TLS to a key in the TPM; left
out: the OpenSSL provider where it is new enough, else PKCS#11.`,
    )
    .action(check);
}

async function check(options: { state: string; tcti?: string; json?: true }): Promise<void> {
  const findings = await findAll(options);
  if (options.json) print(JSON.stringify(findings));
  else for (const finding of findings) print(formatFinding(finding));
  if (findings.some(({ ok }) => !ok)) process.exitCode = 1;
}

async function findAll(options: { state: string; tcti?: string }): Promise<Finding[]> {
  let folder: StateFolder;
  try {
    folder = await enterStateFolder(options.state, { create: false });
  } catch (error) {
    // Before an enrollment: what a key in the TPM needs can be seen all the same.
    if (!(error instanceof AgentError) || error.code !== 'NOT_ENROLLED') throw error;
    if (options.tcti === undefined && !(await hasTpm())) throw error;
    const missing = { ok: false, what: error.message, ...(error.advice === undefined ? {} : { advice: error.advice }) };
    return [...(await checkTpm({ tcti: await chooseTcti(new MemoryStateStore(), options.tcti) })), missing];
  }
  const { store } = folder;
  const provider = (await recordedProvider(store)) ?? 'software';
  const tcti = await chooseTcti(store, options.tcti);
  const tpmFindings = provider === 'tpm' || options.tcti !== undefined ? await checkTpm({ tcti }) : [];
  // What is missing has been named; without it there is no TLS to try.
  if (provider === 'tpm' && tpmFindings.every(({ ok }) => ok)) await startWithTpm(folder, tcti);
  const running = await askRunningAgent();
  const live = running ? { connected: running.connected } : undefined;
  let access: KeyAccess = { keys: await readingKeys(store) };
  let isKeyUsable = true;
  // A running agent holds the key, and has told how it is.
  if (!live) {
    try {
      access = await openKeyAccess(store, { provider, create: false });
    } catch (error) {
      isKeyUsable = false;
      tpmFindings.push(failed('the key in the TPM can be used', error));
    }
  }
  return [
    ...(await inspectStateFolder('.')),
    ...tpmFindings,
    ...(await checkAgent(composeAgent({ store, log: silentLog, access }), live, { isKeyUsable })),
  ];
}

function formatFinding({ ok, what, advice }: Finding): string {
  return `${ok ? 'ok    ' : 'failed'}  ${what}${advice === undefined ? '' : `\n        next: ${advice}`}`;
}
