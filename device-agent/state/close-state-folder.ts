import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { LAYOUT, RECORD_FILES } from './state-layout.ts';

/** `mode`: as it was, octal. `isKey`: what was open to others is a private key. */
export type Closed = { path: string; mode: string; isKey: boolean };

/**
 * Takes from others what a copy, a restore or a hand has given them: the folder itself, the generations and the keys
 * (0700, 0600). Certificates and trust are no secrets.
 * @returns what was open and is closed now. @throws AgentError STATE_BROKEN when it stays open.
 */
export async function closeStateFolder(folder: string): Promise<Closed[]> {
  const generations = join(folder, LAYOUT.generations);
  const numbers = await namesIn(generations);
  const closed: Closed[] = [];
  if (await isOpen(folder)) await mustBeOurs(folder);
  const folders = [folder, generations, ...numbers.map((number) => join(generations, number))];
  for (const path of [...folders, join(folder, LAYOUT.pkcs11)]) closed.push(...(await close(path, 0o700, false)));
  for (const name of Object.values(RECORD_FILES)) closed.push(...(await close(join(folder, name), 0o600, false)));
  for (const number of numbers) closed.push(...(await close(join(generations, number, LAYOUT.key), 0o600, true)));
  return closed;
}

async function close(path: string, mode: number, isKey: boolean): Promise<Closed[]> {
  const before = await modeOf(path);
  if (before === undefined || (before & 0o077) === 0) return [];
  await chmod(path, mode).catch(() => {});
  // Some file systems take a mode and do nothing with it.
  if (await isOpen(path)) throw staysOpen(path, before, mode);
  return [{ path, mode: formatMode(before), isKey }];
}

/** A folder with other things in it, /tmp say, is not ours to close. */
async function mustBeOurs(folder: string): Promise<void> {
  const names = await namesIn(folder);
  const isOurs = names.length === 0 || names.includes(RECORD_FILES.agent) || names.includes(LAYOUT.generations);
  const isShared = ((await modeOf(folder)) ?? 0) & 0o1000;
  if (isOurs && !isShared) return;
  throw new AgentError('STATE_BROKEN', 'the state folder is open to others and holds other things', {
    advice: 'give a folder of its own with --state',
  });
}

async function isOpen(path: string): Promise<boolean> {
  return (((await modeOf(path)) ?? 0) & 0o077) !== 0;
}

async function modeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.mode;
}

async function namesIn(path: string): Promise<string[]> {
  return await readdir(path).catch(() => []);
}

function staysOpen(path: string, mode: number, wanted: number): AgentError {
  return new AgentError('STATE_BROKEN', `others may open ${path} (mode ${formatMode(mode)}) and it cannot be closed`, {
    advice: `as its owner: chmod ${wanted.toString(8)} ${path}; or move the state folder to a file system with modes`,
  });
}

function formatMode(mode: number): string {
  return (mode & 0o777).toString(8).padStart(3, '0');
}
