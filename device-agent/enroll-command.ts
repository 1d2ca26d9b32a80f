import { Command, Option } from 'commander';
import { KEY_KINDS, type KeyKind } from '#gateway/contract/operator-api.ts';
import { composeAgent } from './compose-agent.ts';
import { ControlServer } from './control/control-server.ts';
import { RENEW_WAYS, type RenewVia } from './domain/agent-config.ts';
import {
  chooseSource,
  type EnrollmentSource,
  readClaim,
  readJoinUrl,
  readManufacturerWay,
  readStdin,
  type SourceOptions,
} from './enrollment-source.ts';
import { chooseProvider, chooseTcti, KEY_CHOICES, type KeyChoice, openKeyAccess, startWithTpm } from './key-access.ts';
import { type Enrolled, enrollDevice } from './operations/enroll-device.ts';
import { type EnrollOrder, type EnrollStep, type Grounds, stepsOf } from './operations/enroll-order.ts';
import { silentLog } from './runtime/json-log.ts';
import { LAYOUT } from './state/state-layout.ts';
import { closeEnteredFolder, enterStateFolder, stateOption, tctiOption } from './state-folder.ts';
import { formatTime, print, say, sayClosed } from './terminal.ts';

type EnrollOptions = SourceOptions & {
  state: string;
  key: KeyChoice;
  tcti?: string;
  algorithm: KeyKind;
  renewVia: RenewVia;
  confirm: boolean;
  replace?: true;
  json?: true;
};

export function enrollCommand(): Command {
  return new Command('enroll')
    .description("get this device its identity: by a join URL, a claim file, or its maker's certificate")
    .argument(
      '[source]',
      '`-` reads the join URL (with --via mqtt: the claim file) from stdin; or the join URL as `gatehouse device add` ' +
        'prints it, where nobody else uses this machine; or the path of a claim file',
    )
    .addOption(stateOption())
    .addOption(new Option('--via <door>', 'how to reach the gateway').choices(['est', 'mqtt']).default('est'))
    .option('--idevid-cert <file>', "the certificate that the device's maker gave it (PEM)")
    .option('--idevid-key <file>', 'the key of that certificate (PEM, closed to others)')
    .option('--idevid-chain <file>', 'the issuers of that certificate, when its file does not hold them (PEM)')
    .option('--gateway <host:port>', 'with --idevid-cert: the EST door, or with --via mqtt the MQTT door')
    .option(
      '--est <host:port>',
      'with --idevid-cert and --via mqtt: the EST door, for --root-sha256 and for later (default: port 8443)',
    )
    .option('--root <file>', 'with --idevid-cert: the root certificate of the gateway (PEM)')
    .option('--root-sha256 <hex>', 'with --idevid-cert: the SHA-256 of that certificate, which EST shows')
    .option('--device-id <id>', 'with --idevid-cert: when it is not the serial number in that certificate')
    .option('--label <group>', 'the group this device asks to be in (over EST the label of RFC 7030)')
    .addOption(
      new Option('--key <provider>', 'where the key lives; auto: in the TPM when there is one')
        .choices(KEY_CHOICES)
        .default('software'),
    )
    .addOption(tctiOption())
    .addOption(new Option('--algorithm <kind>', 'kind of the key').choices(KEY_KINDS).default('ec-p256'))
    .addOption(
      new Option('--renew-via <door>', 'how it renews later; auto: over EST, and over MQTT when that is not reached')
        .choices(RENEW_WAYS)
        .default('auto'),
    )
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
  $ gatehouse-agent enroll --state /var/lib/gatehouse-agent --via mqtt pump-17.claim.json
  $ gatehouse-agent enroll --state /var/lib/gatehouse-agent --idevid-cert idevid.pem --idevid-key idevid-key.pem \\
      --gateway gw.plant7:8443 --root-sha256 ROOT-SHA256
  $ gatehouse-agent enroll --state /var/lib/gatehouse-agent --via mqtt --idevid-cert idevid.pem \\
      --idevid-key idevid-key.pem --gateway gw.plant7:8883 --root root.pem

The join URL holds the ticket, and every user of a machine can see the arguments of its processes: on a shared machine
give it by stdin. While a person has to approve, the command waits; broken off and typed again it asks with the same key.`,
    )
    .action(enroll);
}

async function enroll(text: string | undefined, options: EnrollOptions): Promise<void> {
  const source = chooseSource(text, options);
  const folder = await enterStateFolder(options.state, { create: true });
  await closeEnteredFolder(sayClosed);
  const { store } = folder;
  const replace = options.replace === true;
  const provider = await chooseProvider(store, { choice: options.key, tcti: options.tcti, replace });
  const tcti = await chooseTcti(store, options.tcti);
  if (provider === 'tpm') await startWithTpm(folder, tcti);
  if (options.key === 'auto')
    say(`key: ${provider === 'tpm' ? `in the TPM at ${tcti}` : 'in a file (there is no TPM)'}`);
  const { algorithm: keyKind, confirm, renewVia, label } = options;
  const order: EnrollOrder = {
    ...(await readSource(source, { text: text ?? '', options, folder: folder.startedIn })),
    keyKind,
    confirm,
    replace,
    renewVia,
    ...(label === undefined ? {} : { label }),
  };
  const lock = await ControlServer.listen(LAYOUT.controlSocket);
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    const create = replace || (await store.currentGeneration()) === undefined;
    const access = await openKeyAccess(store, { provider, tcti, create });
    const deps = composeAgent({ store, log: silentLog, access });
    const enrolled = await runSteps(order, (progress) => enrollDevice(deps, order, progress, stop.signal));
    report(enrolled, order, options);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    await lock.close();
  }
}

async function readSource(
  source: EnrollmentSource,
  typed: { text: string; options: SourceOptions; folder: string },
): Promise<Grounds> {
  const { text, options, folder } = typed;
  switch (source.kind) {
    case 'join':
      return { join: readJoinUrl(text === '-' ? await readStdin() : text) };
    case 'claim':
      return { claim: await readClaim(text, folder) };
    case 'manufacturer':
      return { manufacturer: await readManufacturerWay(source, options, folder) };
  }
}

const STEP_TITLES = {
  reach: 'gateway reached',
  verify: 'its root is the expected one',
  directory: 'verified session, directory read',
  connect: 'verified session',
  key: 'key',
  certificate: 'certificate issued',
  store: 'identity stored',
  confirm: 'confirmed',
} as const satisfies Record<EnrollStep, string>;

async function runSteps(
  order: EnrollOrder,
  work: (progress: Parameters<typeof enrollDevice>[2]) => Promise<Enrolled>,
): Promise<Enrolled> {
  const steps = stepsOf(order);
  const number = (step: EnrollStep) => `${steps.indexOf(step) + 1}/${steps.length}`;
  let current: EnrollStep | undefined;
  try {
    return await work({
      onStart: (step) => {
        current = step;
      },
      onDone: (step, detail) => say(`✓ ${number(step)} ${STEP_TITLES[step]}: ${detail}`),
      onAttempt: (attemptId) => say(`  attempt ${attemptId}: asking for the certificate`),
      onPending: ({ attemptId, retryAfterMs, keyFingerprint }) =>
        say(
          `… waiting for approval (attempt ${attemptId}), key fingerprint ${keyFingerprint}; ` +
            `asking again in ${inSeconds(retryAfterMs)}. Ctrl-C is safe.`,
        ),
      onTrouble: ({ message }, retryAfterMs) => say(`  ${message}; trying again in ${inSeconds(retryAfterMs)}`),
    });
  } catch (error) {
    if (current) say(`✗ ${number(current)} ${STEP_TITLES[current]}: not done`);
    throw error;
  }
}

function inSeconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}

function report(enrolled: Enrolled, order: EnrollOrder, options: EnrollOptions): void {
  if (options.json) return print(JSON.stringify(enrolled));
  const { deviceId, serial, notAfter, attemptId } = enrolled;
  if (attemptId === undefined)
    return print(`${deviceId} is already enrolled: serial ${serial}, valid until ${formatTime(notAfter)}`);
  print(`${deviceId} is enrolled: serial ${serial}, valid until ${formatTime(notAfter)}, attempt ${attemptId}`);
  if ('claim' in order && options.confirm) say('the claim is spent: its file can be removed');
  return say(`next: gatehouse-agent run --state ${options.state}`);
}
