import { createInterface } from 'node:readline/promises';
import { Command, CommanderError } from 'commander';
import { type DeviceId, isDeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { CommandError, EXIT_CODE } from './command-line/command-error.ts';
import { deviceIdArgument, durationOption, withExamples } from './command-line/command-options.ts';
import { dataFolder } from './command-line/data-folder.ts';
import { connectOperator } from './command-line/operator-client.ts';
import { print, say } from './command-line/output.ts';
import { reportError } from './command-line/report-error.ts';
import { obtainTicket } from './technician/obtain-ticket.ts';
import { showJsonLines, showLines, showTicks } from './technician/show-progress.ts';
import { showTicket } from './technician/show-ticket.ts';
import { watchEnrollment } from './technician/watch-enrollment.ts';

type Options = { group?: string; data?: string; timeout: number; json?: boolean };

const program = withExamples(
  new Command('technician')
    .description('bring one device in: ticket and join URL as text and QR, then watch it enroll and connect')
    .argument('[device-id]', 'name of the device; asked for on a terminal', deviceIdArgument)
    .option('--group <group>', 'group of a device that is new here (default: default)')
    .option('--data <dir>', 'data folder of the gateway (default: GATEHOUSE_DATA, else ./data)')
    .option('--timeout <duration>', 'how long to wait for the device, such as 15m', durationOption, 15 * 60)
    .option('--json', 'JSON Lines on stdout: the ticket, then every event')
    .addHelpText('after', '\nExit codes: 0 connected, 1 not connected, 2 wrong usage, 4 the gateway is not running.')
    .exitOverride(),
  'npm run technician -- press-07 --group line-3',
).action(bringIn);

const ending = new AbortController();
process.once('SIGINT', () => ending.abort());
process.once('SIGTERM', () => ending.abort());

try {
  await program.parseAsync();
} catch (error) {
  if (ending.signal.aborted) {
    say('given up; the ticket stays good until it expires');
    process.exitCode = 130;
  } else if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_CODE.USAGE;
  else process.exitCode = reportError(error, program.opts<Options>().json ?? false);
}

async function bringIn(given: DeviceId | undefined, { group, data, timeout, json }: Options): Promise<void> {
  const operator = await connectOperator(dataFolder(data));
  const deviceId = given ?? (await askDeviceId());
  const added = await obtainTicket(operator, deviceId, group);
  const deadline = Math.min(Date.now() + timeout * 1000, added.expiresAt);
  const events = watchEnrollment(operator, deviceId, { deadline, signal: ending.signal });
  if (json) {
    print(JSON.stringify({ event: 'ticket', ...added }));
    await showJsonLines(events, deviceId);
    return;
  }
  showTicket(added, Date.now());
  if (process.stdout.isTTY) await showTicks(events);
  else await showLines(events);
  say(`${deviceId} is in. See: gatehouse device show ${deviceId}`);
}

async function askDeviceId(): Promise<DeviceId> {
  if (!process.stdin.isTTY) {
    throw new CommandError('USAGE', 'no device id was given', { advice: 'npm run technician -- DEVICE-ID' });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    for (;;) {
      const answer = (await terminal.question('Device id: ', { signal: ending.signal })).trim();
      if (isDeviceId(answer)) return answer;
      try {
        parseDeviceId(answer);
      } catch (error) {
        say(error instanceof Error ? error.message : String(error));
      }
    }
  } finally {
    terminal.close();
  }
}
