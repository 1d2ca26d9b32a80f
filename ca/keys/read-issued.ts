import type { FileHandle } from 'node:fs/promises';
import { AuthorityError, type IssuedPage } from '#ca/ports/certificate-authority.ts';
import { parseJournalLine, readJournalLineHead } from './journal-line.ts';

/** Some four hundred certificates: an answer that others need not wait for. */
const PAGE = 1024 * 1024;
const LINE_END = 10;

/**
 * The certificates in one page of the journal, whole lines only.
 * @param end octets of the journal that are durable
 * @throws AuthorityError ORDER_MALFORMED when no line begins at `from`, JOURNAL_FAILED when what is there is no line
 */
export async function readIssuedFrom(file: FileHandle, from: number, end: number): Promise<IssuedPage> {
  if (from >= end) return { issued: [], next: end };
  // One octet back: a line begins after the end of another.
  const start = Math.max(0, from - 1);
  const bytes = Buffer.alloc(Math.min(PAGE, end - start));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
  if (from > 0 && bytes[0] !== LINE_END) {
    throw new AuthorityError('ORDER_MALFORMED', `no line of the journal begins at octet ${from}`);
  }
  const issued: IssuedPage['issued'] = [];
  const read = bytes.subarray(0, bytesRead);
  let at = from - start;
  for (let lineEnd = read.indexOf(LINE_END, at); lineEnd !== -1; lineEnd = read.indexOf(LINE_END, at)) {
    const line = read.subarray(at, lineEnd);
    const head = readJournalLineHead(line);
    if (head === undefined) break;
    const entry = head.kind === 'certificate' ? parseJournalLine(line) : undefined;
    if (entry?.kind === 'certificate') issued.push({ at: entry.at, der: Buffer.from(entry.der, 'base64') });
    at = lineEnd + 1;
  }
  if (start + at === from) throw new AuthorityError('JOURNAL_FAILED', `the journal cannot be read at octet ${from}`);
  return { issued, next: start + at };
}
