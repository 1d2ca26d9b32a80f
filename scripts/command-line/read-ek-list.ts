import { isDeviceId } from '#gateway/contract/device-id.ts';
import { CommandError } from './command-error.ts';
import { parseSha256 } from './command-options.ts';
import { parseCsv } from './parse-csv.ts';
import { readTextFile } from './read-text-file.ts';

export type AllowedEkLine = { ekSha256: string; deviceId?: string; note?: string };

/**
 * `SHA256[,DEVICE[,NOTE]]` a line; empty lines, lines that start with # and one header line are passed over. A note may
 * hold commas. The whole file is read before anything is sent: a wrong line stops all of it.
 * @param note for lines without one
 * @throws CommandError FAILED naming the line
 */
export async function readEkList(path: string, note?: string): Promise<AllowedEkLine[]> {
  const entries: AllowedEkLine[] = [];
  for (const [first, second, ...rest] of parseCsv(await readTextFile(path), path)) {
    const hash = first?.text ?? '';
    if (hash === '' || (entries.length === 0 && /^[a-z_ ]*(sha-?256|ek)[a-z0-9_ ]*$/i.test(hash))) continue;
    const words = rest.map(({ text }) => text).join(', ');
    entries.push(parseLine(hash, second?.text ?? '', words || note, `${path}:${first?.line}`));
  }
  return entries;
}

function parseLine(hash: string, device: string, note: string | undefined, where: string): AllowedEkLine {
  if (device !== '' && !isDeviceId(device))
    throw new CommandError('FAILED', `${where}: "${device}" is not a device id`);
  try {
    return {
      ekSha256: parseSha256(hash),
      ...(device === '' ? {} : { deviceId: device }),
      ...(note === undefined ? {} : { note }),
    };
  } catch (cause) {
    throw new CommandError('FAILED', `${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
