import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { CommandError } from './command-error.ts';

/** UTF-8 without its byte order mark. @param path `-`: standard input @throws CommandError FAILED */
export async function readTextFile(path: string): Promise<string> {
  const bytes = await (path === '-' ? buffer(process.stdin) : readFile(path)).catch((cause: unknown) => {
    throw new CommandError('FAILED', `${path} cannot be read`, { cause });
  });
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {
    // Said below.
  }
  // Spreadsheets like to write UTF-16 or the code page of their country.
  throw new CommandError('FAILED', `${path} is not text in UTF-8`, {
    advice: 'save it as "CSV UTF-8", or convert it: iconv -f UTF-16 -t UTF-8 FILE',
  });
}
