import { CommandError, EXIT_CODE } from './command-error.ts';
import { asTyped } from './command-name.ts';
import { say } from './output.ts';

/** What is wrong, then what to do next, on stderr; as JSON when the command was asked for JSON. @returns the exit code */
export function reportError(error: unknown, json: boolean): number {
  const known = error instanceof CommandError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (json) {
    const advice = known?.advice && asTyped(known.advice);
    const problem = { code: known?.reason ?? known?.code ?? 'FAILED', detail: message, advice };
    process.stderr.write(`${JSON.stringify({ error: problem })}\n`);
  } else {
    say(`gatehouse: ${message}`);
    if (known?.advice) say(`next: ${known.advice}`);
    if (!known && error instanceof Error) say(error.stack ?? '');
  }
  return EXIT_CODE[known?.code ?? 'FAILED'];
}
