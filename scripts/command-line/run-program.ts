import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/**
 * Runs one of the project's programs on this Node to its end; its talk goes to our stderr.
 * @returns what it printed, and its exit code
 */
export async function runProgram(args: readonly string[]): Promise<{ stdout: string; exitCode: number }> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exitCode = new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
  return { stdout: await text(child.stdout), exitCode: await exitCode };
}
