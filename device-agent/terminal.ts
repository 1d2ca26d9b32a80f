import { AgentError } from './domain/agent-error.ts';

/** Results, for people and pipes. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Talk: what is going on. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** What a log would get, for people. */
export function sayClosed(
  message: string,
  { path, mode, advice }: { path: string; mode: string; advice?: string },
): void {
  say(`${message}: ${path} (mode was ${mode})`);
  if (advice !== undefined) say(`next: ${advice}`);
}

/** What is wrong, then what to do next. */
export function sayError(error: unknown): void {
  if (!(error instanceof AgentError)) {
    say(`gatehouse-agent: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return;
  }
  say(`gatehouse-agent: ${error.message}`);
  if (error.advice !== undefined) say(`next: ${error.advice}`);
  if (error.attemptId !== undefined)
    say(`attempt: ${error.attemptId} (the same id stands in the log and console of the gateway)`);
}

export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}
