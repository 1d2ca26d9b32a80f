import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatSerialNumber } from '#ca/pkix/serial-number.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import { lintRevokedEntries, readRevokedEntries } from '#ca/revocation/revoked-entries.ts';
import { CrlEntries } from '#gateway/domain/crl-entries.ts';
import { SerialEnds } from '#gateway/domain/serial-ends.ts';

const NOW = Date.UTC(2026, 5, 1);
const HOUR = 3_600_000;

function entryOf(serial: string, revokedAt = NOW): Buffer {
  return formatRevokedEntry({ serial, revokedAt, reason: 'superseded' });
}

/** What the list should be: from everything, in the order of serials. */
function reference(entries: ReadonlyMap<string, Buffer>): Buffer {
  return Buffer.concat([...entries].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry));
}

const SERIALS = Array.from({ length: 40 }, () => formatSerialNumber(randomBytes(16)));
const serial = fc.constantFrom(...SERIALS);
const change = fc.oneof(
  fc.record({ kind: fc.constant('put' as const), serial, revokedAt: fc.integer({ min: 0, max: 9 }) }),
  fc.record({ kind: fc.constant('remove' as const), serial }),
  fc.record({ kind: fc.constant('drop' as const), hours: fc.integer({ min: 0, max: 40 }) }),
  fc.record({ kind: fc.constant('encode' as const), most: fc.integer({ min: 1, max: 500 }) }),
);

/** Every serial's certificate has one end. */
const endOf = (of: string) => NOW + SERIALS.indexOf(of as never) * HOUR + 1;

it('is, after any changes in any order, what it would be if it were made from everything', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 80 }), (changes) => {
      const entries = new CrlEntries();
      const expected = new Map<string, Buffer>();
      let seq = 0;
      for (const one of changes) {
        seq += 1;
        if (one.kind === 'put') {
          const entry = entryOf(one.serial, NOW + one.revokedAt * 1000);
          entries.put(one.serial, entry, endOf(one.serial), seq);
          expected.set(one.serial, entry);
        } else if (one.kind === 'remove') {
          entries.remove(one.serial, seq);
          expected.delete(one.serial);
        } else if (one.kind === 'drop') {
          const at = NOW + one.hours * HOUR;
          entries.dropEnded(at);
          for (const known of expected.keys()) if (endOf(known) < at) expected.delete(known);
        } else entries.encodeSome(one.most);
      }
      while (!entries.encodeSome(100));
      expect(entries.size).toBe(expected.size);
      expect(entries.join().equals(reference(expected))).toBe(true);
    }),
    { numRuns: 300 },
  );
});

it('of 100 000 stays right while single ones come and go', () => {
  const entries = new CrlEntries();
  const expected = new Map<string, Buffer>();
  const put = (count: number) => {
    for (let i = 0; i < count; i += 1) {
      const serial = formatSerialNumber(randomBytes(16));
      const entry = entryOf(serial);
      entries.put(serial, entry, NOW + HOUR, i);
      expected.set(serial, entry);
    }
  };
  const encode = () => {
    while (!entries.encodeSome(1_000_000));
    return entries.join();
  };
  put(100_000);
  expect(lintRevokedEntries(encode()).count).toBe(100_000);
  for (const gone of [...expected.keys()].slice(0, 3)) {
    entries.remove(gone, 1);
    expected.delete(gone);
  }
  put(2);
  const list = encode();
  expect(entries.size).toBe(99_999);
  expect(list.equals(reference(expected))).toBe(true);
  // No serial stands there twice.
  expect(readRevokedEntries(list).size).toBe(99_999);
});

it('knows the newest change that it has, and what time takes away is none', () => {
  const entries = new CrlEntries();
  const [one, two] = [SERIALS[0] ?? '', SERIALS[1] ?? ''];
  entries.put(one, entryOf(one), NOW, 7);
  entries.remove(two, 9);
  entries.dropEnded(NOW + HOUR);
  expect(entries.seq).toBe(9);
});

it('gives out the serials that ended before a moment, once', () => {
  const ends = new SerialEnds();
  for (const [index, one] of SERIALS.entries()) ends.add(one, NOW + index * (HOUR / 10));
  const half = ends.takeBefore(NOW + 20 * (HOUR / 10));
  expect(half.toSorted()).toEqual(SERIALS.slice(0, 20).toSorted());
  expect(ends.takeBefore(NOW + 20 * (HOUR / 10))).toEqual([]);
  expect(ends.takeBefore(NOW + 100 * HOUR).toSorted()).toEqual(SERIALS.slice(20).toSorted());
});
