import { PkixError } from '#ca/pkix/pkix-error.ts';
import { REMOVE_FROM_CRL, type RevocationReason, reasonOfCode } from './reasons.ts';

/** `revokedAt` in milliseconds UTC. */
export type RevokedEntry = { revokedAt: number; reason: RevocationReason };

/**
 * The entries of revokedCertificates one after the other, as formatRevokedEntry writes them and nothing else: positive
 * serial, time, at most a reason code. Read by hand in one pass: 100 000 entries stay in the tens of milliseconds.
 * @returns by serial, lower-case hexadecimal.
 * @throws PkixError MALFORMED, also when a serial stands there twice.
 */
export function readRevokedEntries(bytes: Buffer): Map<string, RevokedEntry> {
  const revoked = new Map<string, RevokedEntry>();
  let count = 0;
  walkEntries(bytes, ALL, (serialStart, serialEnd, revokedAt, code) => {
    const reason = reasonOfCode(code);
    if (reason === undefined) throw new PkixError('MALFORMED', `a CRL entry has the reason code ${code}`);
    revoked.set(bytes.toString('hex', serialStart, serialEnd), { revokedAt, reason });
    count += 1;
  });
  if (revoked.size !== count) throw new PkixError('MALFORMED', 'a serial number is revoked twice');
  return revoked;
}

/**
 * The shape alone, without keeping anything.
 * @param options.isDelta removeFromCRL is allowed too
 * @param options.from octet to begin at @param options.most entries to look at: a long list is gone through in parts
 * @returns how many there are, and where the next one begins. @throws PkixError MALFORMED
 */
export function lintRevokedEntries(
  bytes: Buffer,
  options: { isDelta?: boolean; from?: number; most?: number } = {},
): { count: number; end: number } {
  const { isDelta = false, from = 0, most = Number.POSITIVE_INFINITY } = options;
  let count = 0;
  const end = walkEntries(bytes, { from, most }, (_start, _end, _revokedAt, code) => {
    // RFC 5280 5.3.1: 0 is left out, 7 does not exist, 8 is for delta lists.
    if (reasonOfCode(code) === undefined && !(isDelta && code === REMOVE_FROM_CRL))
      throw new PkixError('MALFORMED', `a CRL entry has the reason code ${code}`);
    count += 1;
  });
  return { count, end };
}

/** Extensions with a reasonCode alone, up to the code (RFC 5280 5.3.1). */
const REASON_START = Buffer.from('300c300a0603551d1504030a01', 'hex');

const ALL = { from: 0, most: Number.POSITIVE_INFINITY };

type Visit = (serialStart: number, serialEnd: number, revokedAt: number, reasonCode: number) => void;

/** @returns where the entry after the last one visited begins. */
function walkEntries(bytes: Buffer, { from, most }: { from: number; most: number }, visit: Visit): number {
  let at = from;
  for (let count = 0; at < bytes.length && count < most; count += 1) {
    // 2 + 21 + 17 + 14 octets at most: every length here is a short one.
    const length = bytes[at + 1] ?? 0x80;
    const end = at + 2 + length;
    if (bytes[at] !== 0x30 || length >= 0x80 || end > bytes.length) malformed();
    const serialLength = bytes[at + 3] ?? 0;
    let serialStart = at + 4;
    const timeStart = serialStart + serialLength;
    const first = bytes[serialStart] ?? 0x80;
    if (bytes[at + 2] !== 0x02 || serialLength === 0 || serialLength > 21 || timeStart >= end || first >= 0x80)
      malformed();
    if (first === 0) {
      // A sign octet, and only where it is needed; a serial of 0 is refused with it.
      if (serialLength === 1 || (bytes[serialStart + 1] ?? 0) < 0x80) malformed();
      serialStart += 1;
    }
    const timeLength = bytes[timeStart + 1] ?? 0;
    const restStart = timeStart + 2 + timeLength;
    if (restStart > end) malformed();
    const revokedAt = readEntryTime(bytes, timeStart, timeLength);
    let code = 0;
    if (restStart < end) {
      const isReason = end - restStart === REASON_START.length + 1;
      if (!isReason || bytes.compare(REASON_START, 0, REASON_START.length, restStart, end - 1) !== 0) malformed();
      code = bytes[end - 1] ?? 0;
      if (code === 0) malformed();
    }
    visit(serialStart, timeStart, revokedAt, code);
    at = end;
  }
  return at;
}

/** The Gregorian calendar repeats itself after 146 097 days. */
const MS_IN_400_YEARS = 146_097 * 24 * 3600 * 1000;

function readEntryTime(bytes: Buffer, start: number, length: number): number {
  const tag = bytes[start];
  const isUtc = tag === 0x17 && length === 13;
  if ((!isUtc && (tag !== 0x18 || length !== 15)) || bytes[start + 1 + length] !== 0x5a) malformed();
  const yearDigits = isUtc ? 2 : 4;
  let at = start + 2;
  let year = 0;
  for (let i = 0; i < yearDigits; i += 1) year = year * 10 + digit(bytes[at + i]);
  at += yearDigits;
  if (isUtc) year += year < 50 ? 2000 : 1900;
  const month = two(bytes, at);
  const day = two(bytes, at + 2);
  const hour = two(bytes, at + 4);
  const minute = two(bytes, at + 6);
  const second = two(bytes, at + 8);
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59) malformed();
  // Date.UTC takes a year below 100 for one of the 20th century; from 400 years later it counts the same days.
  const at400 = Date.UTC(year + 400, month - 1, day, hour, minute, second);
  if (day > 28 && new Date(at400).getUTCDate() !== day) malformed();
  return at400 - MS_IN_400_YEARS;
}

function two(bytes: Buffer, at: number): number {
  return digit(bytes[at]) * 10 + digit(bytes[at + 1]);
}

function digit(octet: number | undefined): number {
  const value = (octet ?? 0) - 0x30;
  if (value < 0 || value > 9) malformed();
  return value;
}

function malformed(): never {
  throw new PkixError('MALFORMED', 'a CRL entry is not as it should be');
}
