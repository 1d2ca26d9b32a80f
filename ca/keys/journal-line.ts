import { isSerialNumber, type SerialNumber } from '#ca/ports/issuance-order.ts';
import type { JournalEntry } from '#ca/ports/journal.ts';

/** What a start needs of a line. */
export type JournalLineHead =
  | { kind: 'intent' | 'certificate'; serial: SerialNumber }
  | { kind: 'crl'; number: number; thisUpdate: number; scope?: string };

/** One line of JSON; `kind`, `at` and the number come first, where readJournalLineHead looks for them. */
export function formatJournalLine(entry: JournalEntry): string {
  switch (entry.kind) {
    case 'intent': {
      const { kind, at, serial, profile, subject, orderSha256, tbs } = entry;
      return `${JSON.stringify({ kind, at, serial, profile, subject, orderSha256, tbs })}\n`;
    }
    case 'certificate': {
      const { kind, at, serial, orderSha256, der } = entry;
      return `${JSON.stringify({ kind, at, serial, orderSha256, der })}\n`;
    }
    case 'crl': {
      const { kind, at, number, thisUpdate, scope, sha256 } = entry;
      return `${JSON.stringify({ kind, at, number, thisUpdate, scope, sha256 })}\n`;
    }
  }
}

const ISSUANCE_HEAD = /^\{"kind":"(intent|certificate)","at":\d{1,16},"serial":"([0-9a-f]{32})",/;
const CRL_HEAD =
  /^\{"kind":"crl","at":\d{1,16},"number":(\d{1,16}),"thisUpdate":(\d{1,16}),(?:"scope":"([\w@-]{1,100})",)?/;
/** Longer than any head. */
const HEAD_OCTETS = 240;

/**
 * From the first octets alone, so that a start goes over a million lines in seconds.
 * @param line without its line end. @returns undefined when it is not a line of a journal
 */
export function readJournalLineHead(line: Buffer): JournalLineHead | undefined {
  if (line.at(-1) !== 0x7d) return undefined;
  const head = line.toString('latin1', 0, HEAD_OCTETS);
  const issuance = ISSUANCE_HEAD.exec(head);
  if (issuance !== null) {
    const [, kind, serial] = issuance;
    return isSerialNumber(serial) ? { kind: kind === 'intent' ? 'intent' : 'certificate', serial } : undefined;
  }
  const crl = CRL_HEAD.exec(head);
  if (crl === null) return undefined;
  const [, number, thisUpdate, scope] = crl;
  return {
    kind: 'crl',
    number: Number(number),
    thisUpdate: Number(thisUpdate),
    ...(scope !== undefined && { scope }),
  };
}

/** The whole line. @returns undefined when it is not a line of a journal */
export function parseJournalLine(line: Buffer): JournalEntry | undefined {
  const head = readJournalLineHead(line);
  if (head === undefined) return undefined;
  let fields: unknown;
  try {
    fields = JSON.parse(line.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof fields !== 'object' || fields === null) return undefined;
  const { at, profile, subject, orderSha256, tbs, der, sha256 } = fields as Record<string, unknown>;
  if (typeof at !== 'number') return undefined;
  switch (head.kind) {
    case 'intent':
      if (typeof profile !== 'string' || typeof subject !== 'string') return undefined;
      if (typeof orderSha256 !== 'string' || typeof tbs !== 'string') return undefined;
      return { kind: 'intent', at, serial: head.serial, profile, subject, orderSha256, tbs };
    case 'certificate':
      if (typeof orderSha256 !== 'string' || typeof der !== 'string') return undefined;
      return { kind: 'certificate', at, serial: head.serial, orderSha256, der };
    case 'crl':
      return typeof sha256 === 'string' ? { ...head, at, sha256 } : undefined;
  }
}
