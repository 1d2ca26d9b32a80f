import { Command, Option } from 'commander';
import { type JoinUrl, parseJoinUrl } from '#gateway/contract/join-url.ts';
import { KEY_KINDS, type KeyKind } from '#gateway/contract/operator-api.ts';
import { composeAgent } from './compose-agent.ts';
import { ControlServer } from './control/control-server.ts';
import { AgentError } from './domain/agent-error.ts';
import { chooseProvider, chooseTcti, KEY_CHOICES, type KeyChoice, openKeyAccess, startWithTpm } from './key-access.ts';
import { ENROLL_STEPS, type Enrolled, type EnrollStep, enrollDevice } from './operations/enroll-device.ts';
import { silentLog } from './runtime/json-log.ts';
import { LAYOUT } from './state/state-layout.ts';
import { closeEnteredFolder, enterStateFolder, stateOption, tctiOption } from './state-folder.ts';
import { formatTime, print, say, sayClosed } from './terminal.ts';

type EnrollOptions = {
  state: string;
  key: KeyChoice;
  tcti?: string;
  algorithm: KeyKind;
  confirm: boolean;
  replace?: true;
  json?: true;
};

export function enrollCommand(): Command {
  return new Command('enroll')
    .description('get this device its identity: key, certificate and trust, by a join URL')
    .argument(
      '<join-url>',
      '`-` reads it from stdin; or as `gatehouse device add` prints it, where nobody else uses this machine',
    )
    .addOption(stateOption())
    .addOption(
      new Option('--key <provider>', 'where the key lives; auto: in the TPM when there is one')
        .choices(KEY_CHOICES)
        .default('software'),
    )
    .addOption(tctiOption())
    .addOption(new Option('--algorithm <kind>', 'kind of the key').choices(KEY_KINDS).default('ec-p256'))
    .option('--no-confirm', 'do not open an MQTT session to confirm; `run` does it then')
    .option('--replace', 'enroll again although this folder holds an identity of this device')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ gatehouse-agent enroll --state /var/lib/gatehouse-agent -    (then paste the join URL, Enter, Ctrl-D)
  $ gatehouse-agent enroll --state /var/lib/gatehouse-agent - < join-url.txt
  $ gatehouse-agent enroll --state /var/lib/gatehouse-agent gatehouse://gw.plant7:8443/pump-17/TICKET/ROOT-SHA256

The join URL holds the ticket, and every user of a machine can see the arguments of its processes: on a shared machine
give it by stdin.`,
    )
    .action(enroll);
}

async function enroll(text: string, options: EnrollOptions): Promise<void> {
  const folder = await enterStateFolder(options.state, { create: true });
  await closeEnteredFolder(sayClosed);
  const { store } = folder;
  const replace = options.replace === true;
  const provider = await chooseProvider(store, { choice: options.key, tcti: options.tcti, replace });
  const tcti = await chooseTcti(store, options.tcti);
  if (provider === 'tpm') await startWithTpm(folder, tcti);
  if (options.key === 'auto')
    say(`key: ${provider === 'tpm' ? `in the TPM at ${tcti}` : 'in a file (there is no TPM)'}`);
  const join = readJoinUrl(text === '-' ? await readStdin() : text);
  const lock = await ControlServer.listen(LAYOUT.controlSocket);
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    const create = replace || (await store.currentGeneration()) === undefined;
    const access = await openKeyAccess(store, { provider, tcti, create });
    const deps = composeAgent({ store, log: silentLog, access });
    const order = { join, keyKind: options.algorithm, confirm: options.confirm, replace };
    report(await runSteps((progress) => enrollDevice(deps, order, progress, stop.signal)), options);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    await lock.close();
  }
}

const STEP_TITLES = {
  reach: 'gateway reached',
  verify: 'its root is the one of the join URL',
  directory: 'verified session, directory read',
  key: 'key',
  certificate: 'certificate issued',
  store: 'identity stored',
  confirm: 'confirmed',
} as const satisfies Record<EnrollStep, string>;

function number(step: EnrollStep): string {
  return `${ENROLL_STEPS.indexOf(step) + 1}/${ENROLL_STEPS.length}`;
}

async function runSteps(work: (progress: Parameters<typeof enrollDevice>[2]) => Promise<Enrolled>): Promise<Enrolled> {
  let current: EnrollStep | undefined;
  try {
    return await work({
      onStart: (step) => {
        current = step;
      },
      onDone: (step, detail) => say(`✓ ${number(step)} ${STEP_TITLES[step]}: ${detail}`),
      onPending: (attemptId, retryAfterMs) =>
        say(
          `… waiting for approval (attempt ${attemptId}); asking again in ${Math.ceil(retryAfterMs / 1000)} s. Ctrl-C is safe.`,
        ),
    });
  } catch (error) {
    if (current) say(`✗ ${number(current)} ${STEP_TITLES[current]}: not done`);
    throw error;
  }
}

function report(enrolled: Enrolled, options: EnrollOptions): void {
  if (options.json) return print(JSON.stringify(enrolled));
  const { deviceId, serial, notAfter, attemptId } = enrolled;
  if (attemptId === undefined)
    return print(`${deviceId} is already enrolled: serial ${serial}, valid until ${formatTime(notAfter)}`);
  print(`${deviceId} is enrolled: serial ${serial}, valid until ${formatTime(notAfter)}, attempt ${attemptId}`);
  return say(`next: gatehouse-agent run --state ${options.state}`);
}

function readJoinUrl(text: string): JoinUrl {
  try {
    return parseJoinUrl(text);
  } catch (cause) {
    throw new AgentError('USAGE', cause instanceof Error ? cause.message : 'this is not a join URL', { cause });
  }
}

/** So that the ticket need not stand in the process list. */
async function readStdin(): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString('utf8').trim();
}
