import type { Command } from 'commander';
import type { ManufacturerCaSummary } from '#gateway/contract/operator-api.ts';
import { commandGroup, type GlobalOptions, sha256Argument, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatTime } from './format-time.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, printTable, say } from './output.ts';
import { readCertificateFile } from './read-certificate-file.ts';

type OfGroup = GlobalOptions & { group: string };

/** `gatehouse manufacturer ...` */
export function manufacturerCommands(): Command {
  const manufacturer = commandGroup(
    'manufacturer',
    "makers whose devices may ask for enrollment with the maker's certificate (IDevID)",
  );

  withExamples(
    manufacturer
      .command('add')
      .description('trust the CA certificates in a file (PEM or DER), roots or intermediates, for one group')
      .argument('<file>', 'file with one certificate or more')
      .requiredOption('--group <group>', 'group that their devices may join')
      .option('--note <text>', 'for people'),
    'gatehouse manufacturer add acme-ca.pem --group line-3 --note "pumps, contract 4711"',
  ).action(async (file: string, _: unknown, command: Command) => {
    const { data, json, group, note } = command.optsWithGlobals<OfGroup & { note?: string }>();
    const certificates = await readCertificateFile(file);
    const operator = await connectOperator(dataFolder(data));
    const added: ManufacturerCaSummary[] = [];
    for (const certificate of certificates) {
      const body = { certificate: certificate.toString('base64'), note };
      added.push(await operator.call<ManufacturerCaSummary>('addManufacturerCa', { params: [group], body }));
    }
    show(added, json);
    if (!json) say(`Which of its devices get a certificate: gatehouse group show ${group} (approval)`);
  });

  withExamples(
    manufacturer
      .command('list')
      .description('all trusted CAs of makers')
      .option('--group <group>', 'only those of this group'),
    'gatehouse manufacturer list',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, group } = command.optsWithGlobals<GlobalOptions & { group?: string }>();
    const operator = await connectOperator(dataFolder(data));
    show(await operator.list<ManufacturerCaSummary>('listManufacturerCas', { group }), json);
  });

  withExamples(
    manufacturer
      .command('remove')
      .description('trust it no longer; certificates already issued stand')
      .argument('<sha256>', 'as listed', sha256Argument)
      .requiredOption('--group <group>', 'of this group'),
    'gatehouse manufacturer remove 9c1f... --group line-3',
  ).action(async (sha256: string, _: unknown, command: Command) => {
    const { data, json, group } = command.optsWithGlobals<OfGroup>();
    const operator = await connectOperator(dataFolder(data));
    const params = [group, sha256];
    const removed = await operator.call<ManufacturerCaSummary>('removeManufacturerCa', { params, body: {} });
    if (json) printJson(removed);
    else say(`${removed.subject} is not trusted in the group ${group} any more`);
  });

  return manufacturer;
}

function show(cas: readonly ManufacturerCaSummary[], json: boolean | undefined): void {
  if (json) {
    printJson(cas);
    return;
  }
  const now = Date.now();
  printTable(
    ['group', 'sha256', 'subject', 'until', 'note'],
    cas.map((ca) => [ca.group, ca.sha256, ca.subject, formatTime(ca.notAfter, now), ca.note ?? '-']),
    'no maker is trusted; the first: gatehouse manufacturer add FILE --group GROUP',
  );
}
