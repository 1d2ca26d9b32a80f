import type { Command } from 'commander';
import type { AllowedEkSummary, TpmRootSummary } from '#gateway/contract/operator-api.ts';
import { CommandError } from './command-error.ts';
import { commandGroup, deviceIdArgument, type GlobalOptions, sha256Argument, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatTime } from './format-time.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, printTable, say } from './output.ts';
import { readCertificateFile } from './read-certificate-file.ts';
import { type AllowedEkLine, readEkList } from './read-ek-list.ts';

/** Entries in one request; the gateway takes no more. */
const BATCH = 200;

/** `gatehouse tpm ...` */
export function tpmCommands(): Command {
  const tpm = commandGroup('tpm', 'whom to trust as makers of TPMs, and which TPMs without a certificate');
  tpm.addCommand(rootCommands());
  tpm.addCommand(ekCommands());
  return tpm;
}

function rootCommands(): Command {
  const root = commandGroup('root', 'CA certificates of TPM makers: roots and intermediates');

  withExamples(
    root
      .command('add')
      .description('pin the CA certificates in a file (PEM or DER); a self-signed one is a root')
      .argument('<file>', 'file with one certificate or more')
      .option('--note <text>', 'for people'),
    'gatehouse tpm root add infineon-root.pem --note "line 3"',
  ).action(async (file: string, _: unknown, command: Command) => {
    const { data, json, note } = command.optsWithGlobals<GlobalOptions & { note?: string }>();
    const certificates = await readCertificateFile(file);
    const operator = await connectOperator(dataFolder(data));
    const added: TpmRootSummary[] = [];
    for (const certificate of certificates) {
      const body = { certificate: certificate.toString('base64'), note };
      added.push(await operator.call<TpmRootSummary>('addTpmRoot', { body }));
    }
    showRoots(added, json);
  });

  withExamples(root.command('list').description('all pinned certificates'), 'gatehouse tpm root list').action(
    async (_: unknown, command: Command) => {
      const { data, json } = command.optsWithGlobals<GlobalOptions>();
      const operator = await connectOperator(dataFolder(data));
      showRoots(await operator.list<TpmRootSummary>('listTpmRoots'), json);
    },
  );

  withExamples(
    root
      .command('remove')
      .description('trust it no longer; certificates stand until their renewal')
      .argument('<sha256>', 'as listed', sha256Argument),
    'gatehouse tpm root remove 9c1f...',
  ).action(async (sha256: string, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const removed = await operator.call<TpmRootSummary>('removeTpmRoot', { params: [sha256], body: {} });
    if (json) printJson(removed);
    else say(`${removed.subject} is not trusted any more`);
  });

  return root;
}

type AllowOptions = GlobalOptions & { csv?: string; device?: string; note?: string; dryRun?: boolean };

function ekCommands(): Command {
  const ek = commandGroup('ek', 'endorsement keys that count as endorsed without a certificate of their maker');

  withExamples(
    ek
      .command('allow')
      .description('by the SHA-256 of the public key (SubjectPublicKeyInfo, DER); again is harmless')
      .argument('[sha256]', 'of one endorsement key', sha256Argument)
      .option('--csv <file>', 'many: a line each, SHA256[,DEVICE[,NOTE]], with or without a header')
      .option('--device <id>', 'good for this device only', deviceIdArgument)
      .option('--note <text>', 'for people')
      .option('--dry-run', 'read the file and say what would be sent'),
    'gatehouse tpm ek allow 9c1f... --device press-07',
    'gatehouse tpm ek allow --csv delivery-2026-11.csv',
    'openssl pkey -pubin -in ek.pem -outform der | sha256sum',
  ).action(async (sha256: string | undefined, _: unknown, command: Command) => {
    const { data, json, csv, device, note, dryRun } = command.optsWithGlobals<AllowOptions>();
    const entries = await entriesOf(sha256, { csv, device, note });
    if (dryRun) {
      if (json) printJson(entries);
      else showEntries(entries.map((entry) => ({ ...entry, outcome: 'would be sent' })));
      return;
    }
    const operator = await connectOperator(dataFolder(data));
    const outcomes: { ekSha256: string; outcome: string }[] = [];
    for (let at = 0; at < entries.length; at += BATCH) {
      const body = { entries: entries.slice(at, at + BATCH) };
      outcomes.push(...(await operator.call<{ items: typeof outcomes }>('allowEks', { body })).items);
    }
    if (json) printJson(outcomes);
    else showEntries(entries.map((entry, index) => ({ ...entry, outcome: outcomes[index]?.outcome ?? '-' })));
  });

  withExamples(ek.command('list').description('the allow list'), 'gatehouse tpm ek list').action(
    async (_: unknown, command: Command) => {
      const { data, json } = command.optsWithGlobals<GlobalOptions>();
      const operator = await connectOperator(dataFolder(data));
      const allowed = await operator.list<AllowedEkSummary>('listAllowedEks');
      if (json) {
        printJson(allowed);
        return;
      }
      const now = Date.now();
      printTable(
        ['endorsement key', 'device', 'note', 'added'],
        allowed.map((entry) => [
          entry.ekSha256,
          entry.deviceId ?? 'any',
          entry.note ?? '-',
          formatTime(entry.addedAt, now),
        ]),
        'the allow list is empty',
      );
    },
  );

  withExamples(
    ek
      .command('remove')
      .description('take one off the list; certificates stand until their renewal')
      .argument('<sha256>', 'as listed', sha256Argument),
    'gatehouse tpm ek remove 9c1f...',
  ).action(async (sha256: string, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const removed = await operator.call<AllowedEkSummary>('removeAllowedEk', { params: [sha256], body: {} });
    if (json) printJson(removed);
    else say(`${removed.ekSha256} is not on the allow list any more`);
  });

  return ek;
}

async function entriesOf(
  sha256: string | undefined,
  { csv, device, note }: { csv: string | undefined; device: string | undefined; note: string | undefined },
): Promise<AllowedEkLine[]> {
  if ((sha256 === undefined) === (csv === undefined)) {
    throw new CommandError('USAGE', 'give one SHA-256, or a file with --csv', {
      advice: 'see: gatehouse tpm ek allow --help',
    });
  }
  if (csv !== undefined && device !== undefined) {
    throw new CommandError('USAGE', '--device goes with one key; in a file it is the second column');
  }
  if (csv !== undefined) return readEkList(csv, note);
  return [
    {
      ekSha256: sha256 ?? '',
      ...(device === undefined ? {} : { deviceId: device }),
      ...(note === undefined ? {} : { note }),
    },
  ];
}

function showEntries(entries: readonly (AllowedEkLine & { outcome: string })[]): void {
  printTable(
    ['endorsement key', 'device', 'note', 'outcome'],
    entries.map(({ ekSha256, deviceId, note, outcome }) => [ekSha256, deviceId ?? 'any', note ?? '-', outcome]),
    'the file has no entries',
  );
}

function showRoots(roots: readonly TpmRootSummary[], json: boolean | undefined): void {
  if (json) {
    printJson(roots);
    return;
  }
  const now = Date.now();
  printTable(
    ['sha256', 'kind', 'subject', 'until', 'note'],
    roots.map((root) => [root.sha256, root.kind, root.subject, formatTime(root.notAfter, now), root.note ?? '-']),
    'no maker is trusted; the first: gatehouse tpm root add FILE',
  );
}
