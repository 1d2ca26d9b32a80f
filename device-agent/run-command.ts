import { Command, Option } from 'commander';
import { composeAgent } from './compose-agent.ts';
import { ControlServer } from './control/control-server.ts';
import { AgentError } from './domain/agent-error.ts';
import { openKeyAccess, recordedProvider, startAsEnrolled } from './key-access.ts';
import { runAgent } from './operations/run-agent.ts';
import { createCommandHook } from './runtime/command-hook.ts';
import { fetchDocument } from './runtime/fetch-document.ts';
import { createJsonLog, LOG_LEVELS, type LogLevel } from './runtime/json-log.ts';
import { systemClock } from './runtime/system-clock.ts';
import { FileCrlFolder } from './state/file-crl-folder.ts';
import { LAYOUT } from './state/state-layout.ts';
import { closeEnteredFolder, enterStateFolder, stateOption } from './state-folder.ts';
import { restartProcess } from './tpm/restart-process.ts';

type RunOptions = {
  state: string;
  hook?: string;
  hookTimeout: string;
  keepalive: string;
  crl: boolean;
  crlDelay: string;
  logLevel: LogLevel;
};

export function runCommand(): Command {
  return new Command('run')
    .description('stay connected, obey signed notices, renew in time; until SIGTERM')
    .addOption(stateOption())
    .option(
      '--hook <command>',
      'run after a new certificate, new roots or a new CRL, by /bin/sh, e.g. to reload a service',
    )
    .option('--hook-timeout <seconds>', 'the hook is ended after this time', '60')
    .option('--keepalive <seconds>', 'MQTT keepalive', '60')
    .option('--no-crl', 'keep no CRL for local services')
    .option('--crl-delay <seconds>', 'longest random time before a newer CRL is fetched', '60')
    .addOption(new Option('--log-level <level>', 'lowest level on stderr').choices(LOG_LEVELS).default('info'))
    .addHelpText(
      'after',
      `
Example:
  $ gatehouse-agent run --state /var/lib/gatehouse-agent --hook 'systemctl reload telemetry'

The hook gets GATEHOUSE_CHANGED (certificate, trust or crl: what it is run for), GATEHOUSE_STATE, GATEHOUSE_CERTIFICATE,
GATEHOUSE_KEY, GATEHOUSE_TRUST, GATEHOUSE_CRLS, GATEHOUSE_CRL_ISSUERS (paths), GATEHOUSE_DEVICE_ID, GATEHOUSE_SERIAL and,
for a certificate, GATEHOUSE_OLD_SERIAL. SIGHUP makes a new session, SIGTERM and SIGINT end cleanly.
Exit code 75: the connection to the TPM broke; the supervisor should start the agent again.`,
    )
    .action(run);
}

/** EX_TEMPFAIL of sysexits.h: nothing is wrong that a fresh process would not mend. */
const EXIT_FOR_SUPERVISOR = 75;

async function run(options: RunOptions): Promise<void> {
  const hookTimeoutMs = 1000 * parseSeconds(options.hookTimeout, '--hook-timeout', 86_400);
  const keepaliveSeconds = parseSeconds(options.keepalive, '--keepalive', 65_535);
  const crlWithinMs = 1000 * parseSeconds(options.crlDelay, '--crl-delay', 86_400);
  const folder = await enterStateFolder(options.state, { create: false });
  await startAsEnrolled(folder);
  const { store, path, startedIn } = folder;
  const log = createJsonLog({
    level: options.logLevel,
    write: (line) => process.stderr.write(line),
    now: () => systemClock.now(),
  });
  await closeEnteredFolder((message, fields) => log.warn(message, fields));
  const facts = {
    GATEHOUSE_STATE: path,
    GATEHOUSE_CERTIFICATE: `${path}/${LAYOUT.current}/${LAYOUT.certificate}`,
    GATEHOUSE_KEY: `${path}/${LAYOUT.current}/${LAYOUT.key}`,
    GATEHOUSE_TRUST: `${path}/${LAYOUT.trust}`,
    GATEHOUSE_CRLS: `${path}/${LAYOUT.crlsTogether}`,
    GATEHOUSE_CRL_ISSUERS: `${path}/${LAYOUT.crlIssuers}`,
  };
  const hook =
    options.hook === undefined
      ? undefined
      : createCommandHook({ command: options.hook, cwd: startedIn, timeoutMs: hookTimeoutMs, environment: facts });
  const tpm = Promise.withResolvers<'tpm' | typeof NEW_KEY>();
  const signals = new SignalWatch();
  const ended = Promise.race([signals.first, tpm.promise]);
  const control = await ControlServer.listen(LAYOUT.controlSocket);
  let cause: string;
  try {
    const access = await openKeyAccess(store, {
      provider: (await recordedProvider(store)) ?? 'software',
      create: false,
      onDead: (error) => {
        log.error('the connection to the TPM is broken', { reason: error.message, advice: error.advice });
        process.exitCode = EXIT_FOR_SUPERVISOR;
        tpm.resolve('tpm');
      },
      onNewKey: () => tpm.resolve(NEW_KEY),
    });
    const agent = await runAgent(
      composeAgent({
        store,
        log,
        access,
        ...(hook ? { hook } : {}),
        ...(options.crl ? { crl: new FileCrlFolder('.', fetchDocument) } : {}),
      }),
      { keepaliveSeconds, crlWithinMs },
    );
    control.attach(agent);
    log.info('agent started', { deviceId: agent.deviceId, pid: process.pid });
    const onHangUp = () => agent.reconnect();
    process.on('SIGHUP', onHangUp);
    cause = await ended;
    log.info('agent stops', { signal: cause });
    await agent.stop();
    process.off('SIGHUP', onHangUp);
  } finally {
    await control.close();
  }
  // The candidate is on the disk: it is the first to connect. Who has asked for an end meanwhile gets that.
  if (cause === NEW_KEY && !signals.hasCome) restartProcess({ cwd: startedIn });
}

/** Why an agent stops that starts again by itself: see Pkcs11Loader. */
const NEW_KEY = 'restart for the new key';

/** The second signal finds no listener and ends the process at once. */
class SignalWatch {
  hasCome = false;
  readonly first: Promise<string>;

  constructor() {
    this.first = new Promise((resolve) => {
      const onSignal = (signal: string) => {
        process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
        this.hasCome = true;
        resolve(signal);
      };
      process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
    });
  }
}

function parseSeconds(text: string, option: string, most: number): number {
  const seconds = Number(text);
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > most) {
    throw new AgentError('USAGE', `${option} is a whole number of seconds from 1 to ${most}`);
  }
  return seconds;
}
