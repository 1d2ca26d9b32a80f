import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

export type CommandResult = { exitCode: number; stdout: string; stderr: string };

export type CommandOptions = { timeoutMs?: number; signal?: AbortSignal; cwd?: string; env?: NodeJS.ProcessEnv };

/** Runs a program to its end with its output kept apart. Killed after `timeoutMs`, or when `signal` says so. */
export async function runCommand(
  file: string,
  args: readonly string[],
  { timeoutMs = 60_000, signal, cwd, env = process.env }: CommandOptions = {},
): Promise<CommandResult> {
  // Nothing new begins once the demo is to end.
  signal?.throwIfAborted();
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd, env });
  const kill = () => child.kill('SIGKILL');
  const timer = setTimeout(kill, timeoutMs);
  signal?.addEventListener('abort', kill);
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? -1));
  });
  try {
    const [exitCode, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
    return { exitCode, stdout, stderr };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
  }
}
