import { type FileHandle, open } from 'node:fs/promises';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { parseJournalLine, readJournalLineHead } from './journal-line.ts';
import { SerialIndex } from './serial-index.ts';
import { SignedLists } from './signed-lists.ts';

export type RecoveredJournal = {
  index: SerialIndex;
  lists: SignedLists;
  /** Octets of whole lines. */
  length: number;
  /** Octets after them that no one was ever told were written, cut off; 0 after an orderly end. */
  tornBytes: number;
};

const CHUNK = 1024 * 1024;
/**
 * At least as much as one group of lines holds. A power cut may leave any part of the last group, so broken lines inside
 * this distance of the end are the torn end; further back they are damage, and a person has to look.
 */
export const MAX_TORN_BYTES = 4 * 1024 * 1024;

/**
 * Reads the whole file once and cuts a torn end off; the cut octets are kept beside it as `<path>.torn-<offset>`.
 * @throws AuthorityError JOURNAL_FAILED when a line before the end is broken
 */
export async function recoverJournal(file: FileHandle, path: string): Promise<RecoveredJournal> {
  const { size } = await file.stat();
  const recovered: RecoveredJournal = {
    index: new SerialIndex(),
    lists: new SignedLists(),
    length: 0,
    tornBytes: 0,
  };
  const mayBeTorn = Math.max(0, size - MAX_TORN_BYTES);
  for await (const { offset, line } of readLines(file)) {
    // The torn part of the end is found by reading whole lines; before it the head is enough.
    const head = offset < mayBeTorn ? readJournalLineHead(line) : parseJournalLine(line);
    if (head === undefined) {
      if (offset >= mayBeTorn) break;
      throw new AuthorityError(
        'JOURNAL_FAILED',
        `the journal is damaged at octet ${offset}; restore it, never shorten it`,
      );
    }
    if (head.kind === 'crl') recovered.lists.add(head.scope, head);
    else recovered.index.set(head.serial, offset);
    recovered.length = offset + line.length + 1;
  }
  recovered.tornBytes = size - recovered.length;
  if (recovered.tornBytes > 0) {
    await keepTornEnd(file, recovered.length, `${path}.torn-${recovered.length}`);
    await file.truncate(recovered.length);
    await file.sync();
  }
  return recovered;
}

async function keepTornEnd(file: FileHandle, offset: number, path: string): Promise<void> {
  const torn = await open(path, 'w', 0o600);
  try {
    const chunk = Buffer.alloc(CHUNK);
    for (let position = offset; ; ) {
      const { bytesRead } = await file.read(chunk, 0, CHUNK, position);
      if (bytesRead === 0) break;
      await torn.writeFile(chunk.subarray(0, bytesRead));
      position += bytesRead;
    }
    await torn.sync();
  } finally {
    await torn.close();
  }
}

/** Whole lines with their offsets; what follows the last line end is not one. */
async function* readLines(file: FileHandle): AsyncGenerator<{ offset: number; line: Buffer }> {
  const chunk = Buffer.alloc(CHUNK);
  let rest = Buffer.alloc(0);
  let restOffset = 0;
  for (let position = 0; ; ) {
    const { bytesRead } = await file.read(chunk, 0, CHUNK, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    const data = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
    let start = 0;
    for (let end = data.indexOf(10); end !== -1; end = data.indexOf(10, start)) {
      yield { offset: restOffset + start, line: data.subarray(start, end) };
      start = end + 1;
    }
    rest = data.subarray(start);
    restOffset += start;
    // No line is this long: without the bound a damaged file without line ends would be read into memory whole.
    if (rest.length > MAX_TORN_BYTES) return;
  }
}
