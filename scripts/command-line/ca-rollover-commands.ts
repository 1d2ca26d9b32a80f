import { join } from 'node:path';
import type { Command } from 'commander';
import type { CaRolloverStatus, CaRolloverStep, DeviceNotReady } from '#gateway/contract/ca-rollover-api.ts';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import { DEFAULT_GIVE_UP_SECONDS } from '#gateway/contract/renewal-api.ts';
import { CommandError } from './command-error.ts';
import {
  commandGroup,
  countOption,
  durationOption,
  type GlobalOptions,
  usage,
  withExamples,
} from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatDuration } from './duration.ts';
import { formatTime } from './format-time.ts';
import { connectOperator } from './operator-client.ts';
import { print, printFields, printJson, printTable, say } from './output.ts';
import { PROJECT_ROOT } from './project-root.ts';
import { runProgram } from './run-program.ts';

type PrepareOptions = GlobalOptions & {
  root?: true;
  algorithm?: string;
  rootKeyFile?: string;
  rootPassphraseFile?: string;
  passphraseFile?: string;
  newRootPassphraseFile?: string;
};
type TaintOptions = GlobalOptions & {
  issuer?: string;
  reason?: string;
  within?: number;
  rate?: number;
  giveUpAfter?: number;
};
type RetireOptions = GlobalOptions & { issuer?: string; force?: true; reason?: string };

const CA_MAIN = join(PROJECT_ROOT, 'ca', 'main.ts');
/** Devices that are named without being asked for. */
const FIRST_DEVICES = 20;

const keyIdOption = usage((text) => {
  const hex = text.toLowerCase().replace(/:/g, '');
  if (!/^[0-9a-f]{40}$/.test(hex)) throw new RangeError('a key id is 40 hexadecimal digits, as the status shows it');
  return hex;
});

/** `gatehouse ca rollover ...`: in the order in which they are used. */
export function caRolloverCommands(): Command {
  const rollover = commandGroup('rollover', 'replace the issuing CA, or the root, without a device noticing');
  addPrepare(rollover);
  addSteps(rollover);
  addTaint(rollover);
  addRetire(rollover);
  addStatus(rollover);
  return rollover;
}

function addPrepare(rollover: Command): void {
  withExamples(
    rollover
      .command('prepare')
      .description(
        'make the next intermediate, or with --root the next root and an intermediate below it; nothing uses it yet',
      )
      .option('--root', 'a new root, too, with the certificates that link it to the one in use')
      .option('--algorithm <kind>', 'key of the intermediate: ec-p256 (default), ec-p384, ed25519 or rsa-3072')
      .option('--root-key-file <file>', 'key of the root in use, brought back for this (default: where it was made)')
      .option('--root-passphrase-file <file>', 'its passphrase (default: where it was made)')
      .option('--passphrase-file <file>', 'passphrase for the new intermediate key; left out: one is made')
      .option('--new-root-passphrase-file <file>', 'passphrase for a new root key; left out: one is made'),
    'gatehouse ca rollover prepare --root-key-file /mnt/stick/root.key.pem --root-passphrase-file /mnt/stick/root-passphrase',
    'gatehouse ca rollover prepare --root',
  ).action(async (_: unknown, command: Command) => {
    const options = command.optsWithGlobals<PrepareOptions>();
    const dir = join(dataFolder(options.data), DATA_FOLDER.ca);
    const { stdout, exitCode } = await runProgram([CA_MAIN, 'prepare', '--dir', dir, ...prepareArguments(options)]);
    if (exitCode !== 0) {
      throw new CommandError('FAILED', 'nothing was prepared; the reason stands above', {
        advice: 'where the authority runs on its own: node ca/main.ts prepare --dir DIR, on its host',
      });
    }
    if (options.json) {
      print(stdout.trimEnd());
      return;
    }
    const made = JSON.parse(stdout) as { number: number; dir: string; keyId: string; isNewRoot: boolean };
    printFields({ generation: String(made.number), 'key id': made.keyId, folder: made.dir });
    say(
      made.isNewRoot
        ? 'Move root.key.pem and root-passphrase of this folder, and those of the root in use, offline again.'
        : 'Move the root key and its passphrase offline again.',
    );
    say('Tell the devices: gatehouse ca rollover announce');
  });
}

function prepareArguments(options: PrepareOptions): string[] {
  const { root, algorithm, rootKeyFile, rootPassphraseFile, passphraseFile, newRootPassphraseFile } = options;
  const given = {
    '--algorithm': algorithm,
    '--root-key-file': rootKeyFile,
    '--root-passphrase-file': rootPassphraseFile,
    '--passphrase-file': passphraseFile,
    '--new-root-passphrase-file': newRootPassphraseFile,
  };
  const named = Object.entries(given).flatMap(([option, value]) => (value === undefined ? [] : [option, value]));
  return root ? ['--root', ...named] : named;
}

function addSteps(rollover: Command): void {
  withExamples(
    rollover
      .command('announce')
      .description('tell every device of the prepared CA; it is let in and does not issue yet')
      .option('--reason <text>', 'for the audit'),
    'gatehouse ca rollover announce',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<GlobalOptions & { reason?: string }>();
    const operator = await connectOperator(dataFolder(data));
    const step = await operator.call<CaRolloverStep>('announceCa', { body: { reason } });
    if (json) return printJson(step);
    say(`${step.keyId} is announced`);
    return say('See who knows it: gatehouse ca rollover status');
  });

  withExamples(
    rollover
      .command('discard')
      .description('give up the prepared CA, as long as nobody was told of it; its keys are removed')
      .option('--reason <text>', 'for the audit'),
    'gatehouse ca rollover discard --reason "made with the wrong algorithm"',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<GlobalOptions & { reason?: string }>();
    const operator = await connectOperator(dataFolder(data));
    const step = await operator.call<CaRolloverStep>('discardCa', { body: { reason } });
    if (json) return printJson(step);
    say(`${step.keyId} is discarded, and its keys are removed here; destroy copies and backups of them, too`);
    return say(
      'Where one may have got out: gatehouse ca crl --revoke SERIAL. Make another: gatehouse ca rollover prepare',
    );
  });

  withExamples(
    rollover
      .command('activate')
      .description('issue with the announced CA from now on; nobody is disconnected, and nobody has to be ready'),
    'gatehouse ca rollover activate',
  ).action(async (_: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const step = await operator.call<CaRolloverStep>('activateCa', { body: {} });
    if (json) return printJson(step);
    say(`${step.keyId} issues now`);
    return say('Devices renew in time by themselves; have them renewed now: gatehouse ca rollover taint');
  });
}

function addTaint(rollover: Command): void {
  withExamples(
    rollover
      .command('taint')
      .description('have everything renewed that the replaced CA has issued, at a rate; again: those that are left')
      .option('--issuer <key id>', 'which one, when several have been replaced', keyIdOption)
      .option('--reason <text>', 'why; stands in each notice and the audit')
      .option('--within <time>', 'spread over this time; longer when the rate needs it', durationOption)
      .option('--rate <devices>', 'told a minute at most (default: half of what the gateway can issue)', countOption)
      .option(
        '--give-up-after <time>',
        `end without those that are away so long after the last is told (default: ${formatDuration(DEFAULT_GIVE_UP_SECONDS)})`,
        durationOption,
      ),
    'gatehouse ca rollover taint --within 2h',
    'gatehouse ca rollover taint --reason "HSM was lost" --rate 2000',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, issuer, reason, within, rate, giveUpAfter } = command.optsWithGlobals<TaintOptions>();
    const operator = await connectOperator(dataFolder(data));
    const body = {
      issuerKeyId: issuer,
      reason,
      withinSeconds: within,
      perMinute: rate,
      giveUpSeconds: giveUpAfter,
    };
    const step = await operator.call<CaRolloverStep>('taintCa', { body });
    if (json) return printJson(step);
    if (step.campaignId === null) return say('no device has a certificate of it any more');
    return say(`its devices renew: gatehouse renewal status ${step.campaignId}`);
  });
}

function addRetire(rollover: Command): void {
  withExamples(
    rollover
      .command('retire')
      .description('let the replaced CA in no more, and have devices drop its root; refused as long as one needs it')
      .option('--issuer <key id>', 'which one, when several have been replaced', keyIdOption)
      .option('--force', 'also while devices would be cut off; needs --reason')
      .option('--reason <text>', 'for the audit'),
    'gatehouse ca rollover retire',
    'gatehouse ca rollover retire --force --reason "those devices are scrapped"',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, issuer, force, reason } = command.optsWithGlobals<RetireOptions>();
    if (force && reason === undefined) {
      throw new CommandError('USAGE', 'whoever forces it gives a reason', { advice: 'add --reason "..."' });
    }
    const operator = await connectOperator(dataFolder(data));
    const body = { issuerKeyId: issuer, force: force === true, reason };
    const step = await operator.call<CaRolloverStep>('retireCa', { body });
    if (json) return printJson(step);
    return say(`${step.keyId} is retired`);
  });
}

function addStatus(rollover: Command): void {
  withExamples(
    rollover
      .command('status')
      .description('how far it is, how many devices are ready, and which are not')
      .option('--devices', 'all that are not ready; left out: the first of them')
      .option('--limit <n>', 'at most so many of them', countOption),
    'gatehouse ca rollover status',
    "gatehouse ca rollover status --devices --json | jq -r '.notReady[].deviceId'",
  ).action(async (_: unknown, command: Command) => {
    const { data, json, devices, limit } = command.optsWithGlobals<
      GlobalOptions & { devices?: true; limit?: number }
    >();
    const operator = await connectOperator(dataFolder(data));
    const status = await operator.call<CaRolloverStatus>('showCaRollover');
    const most = limit ?? (devices ? undefined : FIRST_DEVICES);
    const notReady = await operator.list<DeviceNotReady>('listCaRolloverDevices', {}, most);
    if (json) printJson({ ...status, notReady });
    else printStatus(status, notReady, Date.now());
  });
}

function printStatus(status: CaRolloverStatus, notReady: readonly DeviceNotReady[], now: number): void {
  printTable(
    ['kind', 'key id', 'subject', 'state', 'since', 'until'],
    status.generations.map((one) => [
      one.kind,
      one.keyId,
      one.subject,
      one.state,
      formatTime(one.changedAt, now),
      formatTime(one.notAfter, now),
    ]),
    'there is no CA',
  );
  print('');
  print(summaryOf(status, notReady.length));
  if (notReady.length > 0) {
    print('');
    printTable(
      ['device', 'group', 'connected', 'lacks', 'certificate until', 'anchors told'],
      notReady.map((device) => [
        device.deviceId,
        device.group,
        device.connected ? 'yes' : 'no',
        device.lacks.join(', '),
        formatTime(device.notAfter, now),
        device.anchorsSeenAt === null ? 'never' : formatTime(device.anchorsSeenAt, now),
      ]),
      '',
    );
  }
  say(status.next);
}

/** `97.3 % ready, 41 devices are not, here they are:` */
function summaryOf({ devices, ready, readyPercent }: CaRolloverStatus, shown: number): string {
  const left = devices - ready;
  const percent = `${readyPercent.toFixed(1)} % ready`;
  if (left === 0) return `${percent}: ${devices === 1 ? 'the one device' : `all ${devices} devices`}`;
  const which = shown < left ? `here are the first ${shown}` : 'here they are';
  return `${percent}, ${left} ${left === 1 ? 'device is' : 'devices are'} not, ${which}:`;
}
