import { CommanderError } from 'commander';
import { CommandError, EXIT_CODE } from './command-line/command-error.ts';
import { createProgram } from './command-line/program.ts';
import { reportError } from './command-line/report-error.ts';

const program = createProgram();

process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
  // A reader such as `head` may close the pipe early: that is its right.
  if (cause.code === 'EPIPE') process.exit(0);
  const error = new CommandError('FAILED', `the output could not be written: ${cause.message}`, { cause });
  process.exit(reportError(error, isJsonAsked()));
});
// Nowhere is left to say that nothing can be said; the exit code still counts.
process.stderr.on('error', () => {});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Its text has been printed by commander. Help that was asked for ends with 0.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_CODE.USAGE;
  } else process.exitCode = reportError(error, isJsonAsked());
}

function isJsonAsked(): boolean {
  return program.opts<{ json?: boolean }>().json ?? false;
}
