import { Command } from 'commander';
import { alarmCommands } from './alarm-commands.ts';
import { apiCommands } from './api-commands.ts';
import { attemptCommands } from './attempt-commands.ts';
import { auditCommands } from './audit-commands.ts';
import { caCommands } from './ca-commands.ts';
import { certificateCommands } from './certificate-commands.ts';
import { deviceCommands } from './device-commands.ts';
import { doctorCommand } from './doctor-command.ts';
import { enrollmentCommands } from './enrollment-commands.ts';
import { groupCommands } from './group-commands.ts';
import { manufacturerCommands } from './manufacturer-commands.ts';
import { packageVersion } from './package-version.ts';
import { registrarCommands } from './registrar-commands.ts';
import { renewalCommands } from './renewal-commands.ts';
import { revokeCommands } from './revoke-commands.ts';
import { serveCommand } from './serve-command.ts';
import { ticketCommands } from './ticket-commands.ts';
import { tpmCommands } from './tpm-commands.ts';

/** The `gatehouse` command line. Throws CommanderError instead of ending the process. */
export function createProgram(): Command {
  const program = new Command('gatehouse')
    .description('Device identities for the edge: certificates, MQTT sessions, revocation.')
    .option('--data <dir>', 'data folder of the gateway (default: GATEHOUSE_DATA, else ./data)')
    .option('--json', 'the result as JSON on stdout, for programs')
    .version(packageVersion(), '--version')
    .showSuggestionAfterError()
    .addHelpText(
      'after',
      `
Exit codes: 0 ok, 1 failed, 2 wrong usage, 4 the gateway is not running; of group test and device import also 3 waits
for a person, 5 refused; of renewal start and status with --wait also 6 none failed and some were not reached.

Examples:
  $ gatehouse serve
  $ gatehouse device add press-07
  $ gatehouse device show press-07
  $ gatehouse doctor`,
    );
  for (const command of [
    serveCommand(),
    caCommands(),
    deviceCommands(),
    certificateCommands(),
    groupCommands(),
    revokeCommands(),
    alarmCommands(),
    ticketCommands(),
    enrollmentCommands(),
    attemptCommands(),
    manufacturerCommands(),
    registrarCommands(),
    tpmCommands(),
    renewalCommands(),
    auditCommands(),
    apiCommands(),
    doctorCommand(),
  ]) {
    program.addCommand(command);
  }
  for (const command of withDescendants(program)) {
    command.exitOverride().configureHelp({ showGlobalOptions: true });
  }
  return program;
}

/** A setting made on a command is not inherited by commands that were added whole. */
function withDescendants(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withDescendants)];
}
