import { mkdir, open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Option } from 'commander';
import { AgentError } from './domain/agent-error.ts';
import { type Closed, closeStateFolder } from './state/close-state-folder.ts';
import { FileStateStore } from './state/file-state-store.ts';

/** The one option that every command takes. */
export function stateOption(): Option {
  return new Option('--state <dir>', 'folder with the identity of this device')
    .env('GATEHOUSE_AGENT_STATE')
    .default('./agent-state');
}

export function tctiOption(): Option {
  return new Option('--tcti <string>', 'how to reach the TPM: device:/dev/tpmrm0, tabrmd, swtpm:path=SOCKET').env(
    'GATEHOUSE_AGENT_TCTI',
  );
}

export type StateFolder = {
  /** Absolute. */
  path: string;
  store: FileStateStore;
  /** Where the command was started: the owner's hook runs there. */
  startedIn: string;
};

/**
 * Goes into the state folder, so that the path of the control socket, which a system limits to about a hundred bytes,
 * is the same short one wherever the folder lies. Only a command does this: it changes the whole process.
 * @throws AgentError NOT_ENROLLED when it is missing and not to be made, STATE_BROKEN
 */
export async function enterStateFolder(folder: string, options: { create: boolean }): Promise<StateFolder> {
  const path = resolve(folder);
  const startedIn = process.cwd();
  process.umask(0o077);
  try {
    if (options.create) await makeDurableFolder(path);
    process.chdir(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      throw new AgentError('NOT_ENROLLED', `there is no state folder ${path}`, {
        cause,
        advice: 'give the right --state, or enroll: `gatehouse-agent enroll JOIN-URL`',
      });
    }
    throw new AgentError('STATE_BROKEN', `the state folder ${path} cannot be entered (${code ?? String(cause)})`, {
      cause,
      advice: 'run as the user that owns it, or give another --state',
    });
  }
  return { path, startedIn, store: new FileStateStore('.') };
}

/**
 * Before a command works with the keys: closes what others may open, and tells of it.
 * @throws AgentError STATE_BROKEN when it cannot be closed.
 */
export async function closeEnteredFolder(
  tell: (message: string, fields: Closed & { advice?: string }) => void,
): Promise<void> {
  for (const closed of await closeStateFolder('.')) {
    if (closed.isKey) {
      tell('the private key was open to others and is closed now', {
        ...closed,
        advice: 'whoever has read it is this device: `gatehouse-agent renew` makes a new key',
      });
    } else tell('a part of the state folder was open to others and is closed now', closed);
  }
}

async function makeDurableFolder(path: string): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: 0o700 });
  if (made === undefined) return;
  const parent = await open(dirname(path), 'r');
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}
