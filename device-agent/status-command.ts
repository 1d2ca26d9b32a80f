import { Command } from 'commander';
import { ControlClient } from './control/control-client.ts';
import { formatAddress, type RenewVia } from './domain/agent-config.ts';
import { AgentError } from './domain/agent-error.ts';
import type { AgentStatus, TlsKeyAccess } from './domain/agent-status.ts';
import { readingKeys } from './key-access.ts';
import { softwareKeys } from './keys/software-keys.ts';
import { describeStatus } from './operations/describe-status.ts';
import { systemClock } from './runtime/system-clock.ts';
import { MemoryStateStore } from './state/memory-state-store.ts';
import { LAYOUT } from './state/state-layout.ts';
import { enterStateFolder, stateOption } from './state-folder.ts';
import { formatTime, print } from './terminal.ts';

export function statusCommand(): Command {
  return new Command('status')
    .description('who this device is and how it is doing; exit code 0 only when its identity is good')
    .addOption(stateOption())
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ gatehouse-agent status --state /var/lib/gatehouse-agent --json')
    .action(status);
}

async function status(options: { state: string; json?: true }): Promise<void> {
  const described = await describe(options.state);
  print(options.json ? JSON.stringify(described) : formatForPeople(described));
  if (described.state === 'not-enrolled') process.exitCode = 5;
  else if (described.state !== 'enrolled') process.exitCode = 1;
}

async function describe(folder: string): Promise<AgentStatus> {
  try {
    const { store } = await enterStateFolder(folder, { create: false });
    return (
      (await askRunningAgent()) ?? (await describeStatus({ store, keys: await readingKeys(store), clock: systemClock }))
    );
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'NOT_ENROLLED') throw error;
    // No folder is an answer too.
    return describeStatus({ store: new MemoryStateStore(), keys: softwareKeys, clock: systemClock });
  }
}

/** @returns undefined when no agent runs, or one that is just starting. */
export async function askRunningAgent(): Promise<AgentStatus | undefined> {
  const client = await ControlClient.connect(LAYOUT.controlSocket);
  if (!client) return undefined;
  try {
    return (await client.request({ op: 'status' })) as AgentStatus;
  } catch {
    return undefined;
  } finally {
    client.close();
  }
}

function formatForPeople(status: AgentStatus): string {
  const { certificate, gateway, lastError, waiting } = status;
  const connection = status.connected
    ? 'connected'
    : status.running
      ? 'not connected'
      : 'not connected (no agent runs)';
  return [
    `device       ${status.deviceId ?? '-'}`,
    `state        ${status.state}, ${connection}`,
    ...(certificate ? [`certificate  ${certificate.serial}, valid until ${formatTime(certificate.notAfter)}`] : []),
    ...(waiting
      ? [`waiting      for approval (attempt ${waiting.attemptId}), key fingerprint ${waiting.keyFingerprint}`]
      : []),
    ...(status.nextRenewalAt === null
      ? []
      : [`next renewal ${formatTime(status.nextRenewalAt)}, over ${RENEWS_OVER[status.renewVia ?? 'auto']}`]),
    `key          ${formatKey(status)}`,
    ...(gateway ? [`gateway      EST ${formatAddress(gateway.est)}, MQTT ${formatAddress(gateway.mqtt)}`] : []),
    ...(status.crl ? [`CRL          ${formatCrl(status.crl)}`] : []),
    ...(lastError ? [`last error   ${formatTime(lastError.at)} ${lastError.message}`] : []),
    ...(status.hook ? [`last hook    ${formatTime(status.hook.at)} ${formatHook(status.hook)}`] : []),
    ...(status.advice === null ? [] : [`next         ${status.advice}`]),
  ].join('\n');
}

const RENEWS_OVER = {
  auto: 'EST, or MQTT when EST cannot be reached',
  est: 'EST',
  mqtt: 'MQTT',
} as const satisfies Record<RenewVia, string>;

function formatKey({ keyProvider, proofLevel, tlsKeyAccess }: AgentStatus): string {
  if (keyProvider === 'software') return keyProvider;
  const inTls =
    tlsKeyAccess === null ? 'TLS cannot use it (`gatehouse-agent check` tells why)' : TLS_WAYS[tlsKeyAccess];
  return `${keyProvider}, proof level ${proofLevel}, ${inTls}`;
}

const TLS_WAYS = {
  provider: 'in TLS by the OpenSSL provider',
  pkcs11: 'in TLS by pkcs11',
} as const satisfies Record<TlsKeyAccess, string>;

function formatHook(hook: NonNullable<AgentStatus['hook']>): string {
  if (hook.timedOut) return 'timed out';
  return hook.exitCode === null ? 'was killed or could not start' : `exit code ${hook.exitCode}`;
}

function formatCrl({ file, number, nextUpdate, stale, error }: NonNullable<AgentStatus['crl']>): string {
  const which = number === null ? 'none yet' : `${file}, number ${number}`;
  const until = nextUpdate === null ? '' : `, ${stale ? 'overdue since' : 'next update'} ${formatTime(nextUpdate)}`;
  return `${which}${until}${error === null ? '' : `; last try failed: ${error.message}`}`;
}
