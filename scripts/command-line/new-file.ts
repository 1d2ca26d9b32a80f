import { type FileHandle, open, unlink } from 'node:fs/promises';
import { CommandError } from './command-error.ts';

/**
 * Makes the file before what belongs into it, so that nothing is asked for that then has no place; when that cannot be
 * had there is no file either.
 * @param mode such as 0o600
 * @throws CommandError FAILED when the file is there already or cannot be written, and what `make` throws
 */
export async function fillNewFile<T>(
  path: string,
  mode: number,
  make: () => Promise<{ result: T; text: string }>,
): Promise<T> {
  const file = await createFile(path, mode);
  try {
    const { result, text } = await make();
    await file.writeFile(text);
    await file.sync();
    await file.close();
    return result;
  } catch (error) {
    await file.close().catch(() => {});
    await unlink(path).catch(() => {});
    throw error;
  }
}

async function createFile(path: string, mode: number): Promise<FileHandle> {
  try {
    return await open(path, 'wx', mode);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new CommandError('FAILED', `${path} cannot be written: ${message}`, { cause });
    throw new CommandError('FAILED', `${path} exists already`, {
      cause,
      advice: 'name another file, or move that one away',
    });
  }
}
