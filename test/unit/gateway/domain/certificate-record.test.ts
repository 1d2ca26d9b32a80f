import { describe, expect, it } from 'vitest';
import { type CertificateRecord, judgeCertificate, nextDueAt } from '#gateway/domain/certificate-record.ts';

const record = {
  serial: '0'.repeat(32),
  profile: 'device',
  state: 'active',
  notBefore: 1_000_000,
  notAfter: 2_000_000,
  lapseAt: null,
  supersedeAt: null,
} as unknown as CertificateRecord;

describe('a certificate at the door', () => {
  it.each([
    ['lets an active one in', {}, 1_500_000, undefined],
    ['lets a pending one in', { state: 'pending' }, 1_500_000, undefined],
    ['counts both ends of the period', {}, 1_000_000, undefined],
    ['counts the last second', {}, 2_000_999, undefined],
    ['refuses an expired one', {}, 2_001_000, 'CERTIFICATE_EXPIRED'],
    ['refuses one from the future', {}, 999_999, 'CERTIFICATE_NOT_YET_VALID'],
    ['refuses a revoked one, whatever its dates', { state: 'revoked' }, 9_000_000, 'CERTIFICATE_REVOKED'],
    ['refuses a superseded one', { state: 'superseded' }, 1_500_000, 'CERTIFICATE_SUPERSEDED'],
    ["refuses the gateway's own", { profile: 'gateway-server' }, 1_500_000, 'PROFILE_NOT_A_DEVICE'],
  ] as const)('%s', (_, change, now, verdict) => {
    expect(judgeCertificate({ ...record, ...change }, now)).toBe(verdict);
  });
});

describe('when the sweep looks again', () => {
  it.each([
    ['at the lapse of a pending one', { state: 'pending', lapseAt: 5 }, 5],
    ['at the end of the overlap', { state: 'active', supersedeAt: 7 }, 7],
    ['at the end of its life', {}, 2_000_000],
    ['at the end of a superseded one', { state: 'superseded' }, 2_000_000],
    ['never again once revoked', { state: 'revoked' }, null],
    ['never again once expired', { state: 'expired' }, null],
  ] as const)('is %s', (_, change, due) => expect(nextDueAt({ ...record, ...change })).toBe(due));
});
