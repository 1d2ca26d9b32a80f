import { createReadStream } from 'node:fs';
import { CommandError } from './command-error.ts';

/** Octets: two million devices. A longer one would end in a program without memory instead of a word. */
const MOST_OCTETS = 128 * 1024 * 1024;

/** UTF-8 without its byte order mark. @param path `-`: standard input @throws CommandError FAILED */
export async function readTextFile(path: string): Promise<string> {
  const bytes = await readOctets(path === '-' ? process.stdin : createReadStream(path)).catch((cause: unknown) => {
    throw new CommandError('FAILED', `${path} cannot be read`, { cause });
  });
  if (bytes === undefined) {
    throw new CommandError('FAILED', `${path} is larger than ${MOST_OCTETS / 1024 / 1024} MiB`, {
      advice: 'send it in parts; what is there already stays as it is',
    });
  }
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

/** @returns undefined when there are too many */
async function readOctets(source: AsyncIterable<Buffer>): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let octets = 0;
  for await (const chunk of source) {
    octets += chunk.length;
    if (octets > MOST_OCTETS) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
