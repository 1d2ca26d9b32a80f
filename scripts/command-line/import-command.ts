import { Command } from 'commander';
import type { DevicesImported } from '#gateway/contract/operator-api.ts';
import { MAX_IMPORT_ENTRIES } from '#gateway/contract/operator-paths.ts';
import { VERDICT_EXIT_CODE } from './command-error.ts';
import { type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { connectOperator, type OperatorClient } from './operator-client.ts';
import { printFields, printJson, printTable, say } from './output.ts';
import { startProgressBar } from './progress-bar.ts';
import { type DeviceLine, readDeviceList } from './read-device-list.ts';

type ImportOptions = GlobalOptions & { group?: string; dryRun?: boolean };
type Entry = DeviceLine & { line: number };
type Outcome = DevicesImported['items'][number] & { line: number };

const OUTCOMES = ['added', 'unchanged', 'refused'] as const;

/** `gatehouse device import` */
export function importCommand(): Command {
  return withExamples(
    new Command('import')
      .description('register many devices from a CSV file; again is harmless')
      .argument(
        '<file>',
        'its first line names the columns: deviceId and any of group,hardwareSerial,owner,ekSha256; - reads stdin',
      )
      .option('--group <group>', 'for lines that name none (default: default)')
      .option('--dry-run', 'read the file and say what would be sent'),
    'gatehouse device import delivery-2026-11.csv --group line-3',
    "printf 'deviceId,hardwareSerial\\npress-07,SN-4711\\n' | gatehouse device import - --dry-run",
  ).action(async (file: string, _: unknown, command: Command) => {
    const { data, json, group, dryRun } = command.optsWithGlobals<ImportOptions>();
    const read = await readDeviceList(file);
    const entries = group === undefined ? read : read.map((entry) => ({ group, ...entry }));
    if (dryRun) {
      showEntries(entries, json);
      return;
    }
    const outcomes = await send(await connectOperator(dataFolder(data)), entries);
    if (outcomes.some(({ outcome }) => outcome === 'refused')) process.exitCode = VERDICT_EXIT_CODE.REFUSED;
    showOutcomes(outcomes, json);
  });
}

async function send(operator: OperatorClient, entries: readonly Entry[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  using bar = startProgressBar(entries.length, 'devices');
  for (let at = 0; at < entries.length; at += MAX_IMPORT_ENTRIES) {
    const batch = entries.slice(at, at + MAX_IMPORT_ENTRIES);
    const body = { entries: batch.map(toSend) };
    const { items } = await operator.call<DevicesImported>('importDevices', { body }).catch((error: unknown) => {
      if (at > 0) say(`the first ${at} of ${entries.length} devices were sent; import the whole file again`);
      throw error;
    });
    outcomes.push(...items.map((item, index) => ({ ...item, line: batch[index]?.line ?? 0 })));
    bar.advance(outcomes.length);
  }
  return outcomes;
}

function toSend({ deviceId, group, hardwareSerial, owner, ekSha256 }: Entry): unknown {
  return { deviceId, group, hardwareSerial, owner, ekSha256 };
}

function showOutcomes(outcomes: readonly Outcome[], json: boolean | undefined): void {
  const counts = Object.fromEntries(
    OUTCOMES.map((wanted) => [wanted, outcomes.filter(({ outcome }) => outcome === wanted).length]),
  );
  if (json) {
    printJson({ ...counts, items: outcomes });
    return;
  }
  printFields(Object.fromEntries(OUTCOMES.map((outcome) => [outcome, String(counts[outcome])])));
  const refused = outcomes.filter(({ outcome }) => outcome === 'refused');
  if (refused.length === 0) {
    say('They may enroll with a certificate of a trusted maker (gatehouse manufacturer add), or with a ticket:');
    say('  gatehouse device add ID --new-ticket');
    return;
  }
  printTable(
    ['line', 'device', 'refused because'],
    refused.map(({ line, deviceId, detail }) => [String(line), deviceId, detail ?? '-']),
    '',
  );
  say('Correct these lines and import the file again: what is registered already stays as it is.');
}

function showEntries(entries: readonly Entry[], json: boolean | undefined): void {
  if (json) {
    printJson(entries);
    return;
  }
  printTable(
    ['line', 'device', 'group', 'hardware serial', 'owner', 'endorsement key'],
    entries.map((entry) => [
      String(entry.line),
      entry.deviceId,
      entry.group ?? 'default',
      entry.hardwareSerial ?? '-',
      entry.owner ?? '-',
      entry.ekSha256 ?? '-',
    ]),
    'the file names no devices',
  );
  say(`${entries.length} device(s) would be sent`);
}
