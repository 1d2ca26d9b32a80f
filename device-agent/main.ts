import { Command, CommanderError } from 'commander';
import { listenCommand, publishCommand } from './application-commands.ts';
import { checkCommand } from './check-command.ts';
import { AgentError } from './domain/agent-error.ts';
import { AGENT_VERSION } from './domain/agent-version.ts';
import { enrollCommand } from './enroll-command.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { renewCommand } from './renew-command.ts';
import { runCommand } from './run-command.ts';
import { statusCommand } from './status-command.ts';
import { sayError } from './terminal.ts';

// A reader such as `head` may close the pipe early: that is its right.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const program = new Command('gatehouse-agent')
  .description('identity, connection and renewal of one device')
  .version(AGENT_VERSION)
  .showHelpAfterError('(--help shows what can be typed)')
  .addHelpText(
    'after',
    '\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the gateway, 4 gateway not reached, 5 not enrolled,\n6 the TPM cannot be used, 75 start me again (the connection to the TPM broke)',
  );
for (const command of [
  enrollCommand(),
  runCommand(),
  statusCommand(),
  renewCommand(),
  checkCommand(),
  publishCommand(),
  listenCommand(),
]) {
  program.addCommand(command.copyInheritedSettings(program).exitOverride());
}
program.exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said it. Help that was asked for ends with 0.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_CODES.USAGE;
  } else {
    sayError(error);
    process.exitCode = error instanceof AgentError ? EXIT_CODES[error.code] : 1;
    // What a command left under way, such as a renewal past its time limit, may be cut anywhere.
    process.exit();
  }
}
