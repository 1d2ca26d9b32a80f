import { AgentError } from '#device-agent/domain/agent-error.ts';

/**
 * Becomes the same program again: same process id, same standard streams, so that neither a supervisor nor a terminal
 * sees a difference. What this process has open is closed by the system, and what it has in memory is gone.
 * @param restart.cwd where the program was started. @param restart.nodeOptions instead of the present ones. Never returns.
 */
export function restartProcess(restart: {
  cwd: string;
  nodeOptions?: string[];
  environment?: Record<string, string>;
}): never {
  process.chdir(restart.cwd);
  const args = [process.execPath, ...(restart.nodeOptions ?? process.execArgv), ...process.argv.slice(1)];
  process.execve?.(process.execPath, args, { ...process.env, ...restart.environment });
  throw new AgentError('TPM_UNUSABLE', 'this Node cannot restart itself', { advice: 'use Node 24 on Linux' });
}
