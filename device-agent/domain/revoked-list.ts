import type { RevocationsBody } from '#gateway/contract/notice.ts';

/**
 * `crl/revoked.json`: what the gateway has told since the CRL beside it was made. Others' programs read it together
 * with the CRL: a serial in `revoked` is revoked, one in `released` is not although the CRL may name it.
 */
export type RevokedList = {
  version: 1;
  /** Of the newest notice: only a later one takes its place. */
  crlNumber: number;
  seq: number;
  /** reasonCode: RFC 5280 5.3.1. at: milliseconds UTC. */
  revoked: { serial: string; reasonCode: number; at: number }[];
  released: string[];
};

const REMOVE_FROM_CRL = 8;
/** A notice holds some 600; those carried over are what it had no more room for. */
const MOST_ENTRIES = 5000;
/** What was revoked just before a CRL was made may have missed it. */
const CRL_MARGIN_MS = 5 * 60_000;

/** Whether the notice is newer than all before: the CRL number rises for ever, `seq` while it stays. */
export function isNews(list: RevokedList | undefined, { crlNumber, seq }: RevocationsBody): boolean {
  if (list === undefined || crlNumber > list.crlNumber) return true;
  return crlNumber === list.crlNumber && seq > list.seq;
}

/**
 * @param crlThisUpdate of the CRL at hand, milliseconds UTC: what was told of before stands there
 */
export function takeNews(
  before: RevokedList | undefined,
  news: RevocationsBody,
  crlThisUpdate: number | undefined,
): RevokedList {
  const { crlNumber, seq, full, entries } = news;
  const revoked: RevokedList['revoked'] = [];
  const released: string[] = [];
  const told = new Set<string>();
  for (const [serial, reasonCode, at] of entries) {
    // Newest first: the first word about a serial is the last one said.
    if (told.has(serial)) continue;
    told.add(serial);
    if (reasonCode === REMOVE_FROM_CRL) released.push(serial);
    else revoked.push({ serial, reasonCode, at: at * 1000 });
  }
  if (full || before === undefined) return { version: 1, crlNumber, seq, revoked, released };
  const since = crlThisUpdate === undefined ? 0 : crlThisUpdate - CRL_MARGIN_MS;
  for (const entry of before.revoked) {
    if (revoked.length >= MOST_ENTRIES) break;
    if (entry.at >= since && !told.has(entry.serial)) revoked.push(entry);
  }
  return { version: 1, crlNumber, seq, revoked, released };
}

/** @returns undefined when it is none. */
export function parseRevokedList(value: unknown): RevokedList | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, crlNumber, seq, revoked, released } = value as Record<string, unknown>;
  if (version !== 1 || !isCount(crlNumber) || !isCount(seq) || !Array.isArray(revoked) || !Array.isArray(released))
    return undefined;
  if (!revoked.every(isEntry) || !released.every((serial) => typeof serial === 'string')) return undefined;
  return {
    version: 1,
    crlNumber,
    seq,
    revoked: revoked.map(({ serial, reasonCode, at }) => ({ serial, reasonCode, at })),
    released,
  };
}

function isEntry(value: unknown): value is RevokedList['revoked'][number] {
  if (typeof value !== 'object' || value === null) return false;
  const { serial, reasonCode, at } = value as Record<string, unknown>;
  return typeof serial === 'string' && isCount(reasonCode) && isCount(at);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
