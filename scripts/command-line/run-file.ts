import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DATA_FOLDER, type RunFile } from '#gateway/contract/data-folder.ts';
import { CommandError } from './command-error.ts';

/** What the running gateway wrote about itself. @throws CommandError NOT_RUNNING, with how to start it. */
export async function readRunFile(dataDir: string): Promise<RunFile> {
  const path = join(dataDir, DATA_FOLDER.runFile);
  try {
    const { pid, operatorSocket, doors } = JSON.parse(await readFile(path, 'utf8')) as Partial<RunFile>;
    if (typeof pid === 'number' && typeof operatorSocket === 'string') {
      return { pid, operatorSocket: resolve(dataDir, operatorSocket), ...(doors ? { doors } : {}) };
    }
    throw new SyntaxError('pid or operatorSocket is missing');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EACCES') {
      throw new CommandError('FAILED', `this user may not read ${path}`, {
        cause,
        advice: 'run the command as the user that runs the gateway',
      });
    }
    throw gatewayNotRunning(dataDir, cause);
  }
}

export function gatewayNotRunning(dataDir: string, cause?: unknown): CommandError {
  return new CommandError('NOT_RUNNING', `no gateway runs with the data folder ${dataDir}`, {
    cause,
    advice: `start it with: gatehouse serve --data ${dataDir}   (or name another folder with --data or GATEHOUSE_DATA)`,
  });
}
