import * as pkijs from 'pkijs';
import { describe, expect, it } from 'vitest';
import { integer, sequence, time } from '#ca/pkix/der.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import { parseCrl, verifyCrlSignature } from '#ca/revocation/parse-crl.ts';
import { parseRevocationReason, REVOCATION_REASONS } from '#ca/revocation/reasons.ts';
import { lintRevokedEntries, readRevokedEntries } from '#ca/revocation/revoked-entries.ts';
import { newSerial, openTestAuthority } from '#test/fixtures/ca/authority.ts';
import { DAY, NOW } from '#test/fixtures/ca/certificates.ts';
import { computingTime } from '#test/fixtures/processes/computing-time.ts';

const times = { thisUpdate: NOW, nextUpdate: NOW + DAY };

describe('CRL', () => {
  it('lists what was revoked, and why', async () => {
    const { authority, intermediate } = await openTestAuthority();
    const revoked = REVOCATION_REASONS.map((reason, i) => ({ serial: newSerial(), revokedAt: NOW - i * 1000, reason }));
    const entries = Buffer.concat(revoked.map(formatRevokedEntry));
    const crl = parseCrl(await authority.signCrl({ number: 1, ...times, entries }));
    expect(crl).toMatchObject({ number: 1, ...times, authorityKeyId: intermediate.certificate.subjectKeyId });
    expect(crl.issuer).toEqual(intermediate.certificate.subject);
    expect([...crl.revoked].map(([serial, entry]) => ({ serial, ...entry }))).toEqual(revoked);
    expect(verifyCrlSignature(crl, intermediate.certificate.publicKey)).toBe(true);
    expect(verifyCrlSignature({ ...crl, tbs: Buffer.alloc(1) }, intermediate.certificate.publicKey)).toBe(false);
  });

  it('is read and verified by pkijs', async () => {
    const { authority, intermediate } = await openTestAuthority();
    const serial = newSerial();
    const entries = formatRevokedEntry({ serial, revokedAt: NOW, reason: 'keyCompromise' });
    const crl = pkijs.CertificateRevocationList.fromBER(await authority.signCrl({ number: 300, ...times, entries }));
    const [entry] = crl.revokedCertificates ?? [];
    expect(Buffer.from(entry?.userCertificate.valueBlock.valueHexView ?? []).toString('hex')).toBe(serial);
    expect(crl.nextUpdate?.value.getTime()).toBe(NOW + DAY);
    expect(crl.crlExtensions?.extensions.map(({ extnID, critical }) => [extnID, critical])).toEqual([
      ['2.5.29.35', false],
      ['2.5.29.20', false],
    ]);
    const issuerCertificate = pkijs.Certificate.fromBER(intermediate.certificate.der);
    expect(await crl.verify({ issuerCertificate })).toBe(true);
  });

  it('has no list at all when nothing is revoked', async () => {
    const { authority } = await openTestAuthority();
    const der = await authority.signCrl({ number: 1, ...times, entries: Buffer.alloc(0) });
    expect(parseCrl(der).revoked.size).toBe(0);
    expect(pkijs.CertificateRevocationList.fromBER(der).revokedCertificates).toBeUndefined();
  });

  it('leaves the reason out instead of saying unspecified', () => {
    expect(formatRevokedEntry({ serial: '1f', revokedAt: NOW, reason: 'unspecified' })).toEqual(
      sequence(integer(0x1f), time(NOW)),
    );
  });

  it.each([
    ['the number again', { number: 5 }],
    ['a smaller number', { number: 4 }],
    ['a leap to the end of all numbers', { number: Number.MAX_SAFE_INTEGER }],
    ['less than a second after the last', { thisUpdate: NOW + 999 }],
    ['a time in the past', { thisUpdate: NOW - DAY }],
    ['a time in the future', { thisUpdate: NOW + DAY / 2 }],
    ['an end before its start', { nextUpdate: NOW }],
    ['a validity of years', { nextUpdate: NOW + 900 * DAY }],
    ['garbage for entries', { entries: Buffer.from('hello') }],
  ])('is refused with %s', async (_what, change) => {
    const { authority } = await openTestAuthority();
    const empty = Buffer.alloc(0);
    await authority.signCrl({ number: 5, ...times, entries: empty });
    const next = { number: 6, thisUpdate: NOW + 1000, nextUpdate: NOW + DAY, entries: empty };
    await expect(authority.signCrl({ ...next, ...change })).rejects.toMatchObject({ code: 'CRL_REFUSED' });
    await expect(authority.signCrl(next)).resolves.toBeInstanceOf(Buffer);
    expect((await authority.describe()).lastCrlNumber).toBe(6);
  });

  it('is signed once when the same number is ordered twice together', async () => {
    const { authority } = await openTestAuthority();
    const order = { number: 1, ...times, entries: Buffer.alloc(0) };
    const outcomes = await Promise.allSettled([authority.signCrl(order), authority.signCrl(order)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('of 100 000 entries is signed and read with work that grows with their number alone', async () => {
    const { authority } = await openTestAuthority();
    const entry = { revokedAt: NOW, reason: 'superseded' } as const;
    const entries = Buffer.concat(
      Array.from({ length: 100_000 }, () => formatRevokedEntry({ serial: newSerial(), ...entry })),
    );
    const started = computingTime();
    const der = await authority.signCrl({ number: 1, ...times, entries });
    const signed = computingTime();
    const { revoked } = parseCrl(der);
    const read = computingTime();
    expect(revoked.size).toBe(100_000);
    // Some fifty times what it takes; if each entry were compared with all others, it would be minutes.
    expect(signed - started).toBeLessThan(2_500);
    expect(read - signed).toBeLessThan(5_000);
  });
});

describe('CRL entries', () => {
  const entry = formatRevokedEntry({ serial: '1f', revokedAt: NOW, reason: 'keyCompromise' });
  const withReason = (code: number) => {
    const bytes = Buffer.from(entry);
    bytes[bytes.length - 1] = code;
    return bytes;
  };

  it.each([
    ['a reason code of 0', withReason(0)],
    ['the reason code 7, which does not exist', withReason(7)],
    ['removeFromCRL outside a delta CRL', withReason(8)],
    ['a reason code of 11', withReason(11)],
    ['a serial number of 0', sequence(integer(0), time(NOW))],
    ['a negative serial number', sequence(Buffer.from('0201ff', 'hex'), time(NOW))],
    ['a serial number with a needless zero', sequence(Buffer.from('0202001f', 'hex'), time(NOW))],
    ['a serial number of 22 octets', sequence(integer(Buffer.alloc(22, 1)), time(NOW))],
    ['no time', sequence(integer(1))],
    ['an end inside an entry', entry.subarray(0, -1)],
    ['another extension', sequence(integer(1), time(NOW), sequence(sequence(integer(1))))],
    ['something after the reason', sequence(integer(1), time(NOW), integer(1))],
    ['the 13th month', sequence(integer(1), Buffer.from(`170d${Buffer.from('261301000000Z').toString('hex')}`, 'hex'))],
  ])('are refused with %s', (_what, bytes) => {
    expect(() => lintRevokedEntries(bytes)).toThrow(PkixError);
    expect(() => readRevokedEntries(bytes)).toThrow(PkixError);
  });

  it('are counted', () => {
    expect(lintRevokedEntries(Buffer.concat([entry, entry])).count).toBe(2);
  });

  it('are refused when a CRL lists one twice', () => {
    expect(() => readRevokedEntries(Buffer.concat([entry, entry]))).toThrow(/twice/);
  });

  it('go beyond 2049', () => {
    const late = formatRevokedEntry({ serial: 'ff01', revokedAt: Date.UTC(2051, 0, 2), reason: 'aACompromise' });
    expect(readRevokedEntries(late)).toEqual(
      new Map([['ff01', { revokedAt: Date.UTC(2051, 0, 2), reason: 'aACompromise' }]]),
    );
  });
});

describe('revocation reasons', () => {
  it.each([
    ['keyCompromise', 'keyCompromise'],
    ['key-compromise', 'keyCompromise'],
    ['KEYCOMPROMISE', 'keyCompromise'],
    ['superseded', 'superseded'],
    ['removeFromCRL', undefined],
    ['toString', undefined],
    ['', undefined],
  ])('"%s" is %s', (text, reason) => {
    expect(parseRevocationReason(text)).toBe(reason);
  });
});
