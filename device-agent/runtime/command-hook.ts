import { spawn } from 'node:child_process';
import type { HookResult, HookRunner } from '#device-agent/ports/hook-runner.ts';

const KILL_AFTER_MS = 5000;

/**
 * Runs the owner's command in a shell and a process group of its own, so that a timeout ends all that it started.
 * Its output goes to the agent's stderr; it reads nothing.
 * @param options.command as typed, for /bin/sh. @param options.cwd where the agent was started.
 */
export function createCommandHook(options: {
  command: string;
  cwd: string;
  timeoutMs: number;
  environment: Record<string, string>;
}): HookRunner {
  return {
    run: (facts) =>
      new Promise<HookResult>((resolve) => {
        const child = spawn('/bin/sh', ['-c', options.command], {
          cwd: options.cwd,
          env: { ...process.env, ...options.environment, ...facts },
          stdio: ['ignore', 2, 2],
          detached: true,
        });
        let timedOut = false;
        const signalGroup = (signal: NodeJS.Signals) => {
          if (child.pid === undefined) return;
          try {
            process.kill(-child.pid, signal);
          } catch {
            // The group has ended by itself.
          }
        };
        const terminate = setTimeout(() => {
          timedOut = true;
          signalGroup('SIGTERM');
        }, options.timeoutMs);
        const kill = setTimeout(() => signalGroup('SIGKILL'), options.timeoutMs + KILL_AFTER_MS);
        const finish = (exitCode: number | null) => {
          clearTimeout(terminate);
          clearTimeout(kill);
          resolve({ exitCode: timedOut ? null : exitCode, timedOut });
        };
        child.once('error', () => finish(null));
        child.once('exit', finish);
      }),
  };
}
