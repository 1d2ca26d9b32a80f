import { CommanderError } from 'commander';
import { EXIT_CODE } from './command-line/command-error.ts';
import { createProgram } from './command-line/program.ts';
import { reportError } from './command-line/report-error.ts';

// A reader such as `head` may close the pipe early: that is its right.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const program = createProgram();
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Its text has been printed by commander. Help that was asked for ends with 0.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_CODE.USAGE;
  } else process.exitCode = reportError(error, program.opts<{ json?: boolean }>().json ?? false);
}
