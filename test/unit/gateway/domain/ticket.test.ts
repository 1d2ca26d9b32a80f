import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { formatTicket, hashTicket, isTicketSecret, type Ticket, ticketState } from '#gateway/domain/ticket.ts';

const ticket: Ticket = {
  id: 't-1',
  deviceId: parseDeviceId('press-07'),
  secretSha256: hashTicket('abc'),
  createdAt: 0,
  expiresAt: 1000,
  createdBy: 'test',
  boundSpkiSha256: null,
  boundSerial: null,
  spentAt: null,
  claimSerial: null,
  revokedAt: null,
};

describe('a ticket', () => {
  it('is 26 characters a person can type, and every bit of the 128 counts', () => {
    const bytes = randomBytes(16);
    const text = formatTicket(bytes);
    expect(text).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
    for (let bit = 0; bit < 128; bit += 1) {
      const other = Buffer.from(bytes);
      other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(formatTicket(other)).not.toBe(text);
    }
  });

  it('is the known Crockford text of known bytes', () => {
    expect(formatTicket(Buffer.from('00000000000000000000000000000000', 'hex'))).toBe('0'.repeat(26));
    expect(formatTicket(Buffer.from('ffffffffffffffffffffffffffffffff', 'hex'))).toBe(`${'z'.repeat(25)}w`);
  });

  it('is the same ticket in capitals, with dashes, and with o and l typed for 0 and 1', () => {
    expect(hashTicket('AB01-cd 01')).toBe(hashTicket('abolcdoi'));
    expect(hashTicket('ab')).not.toBe(hashTicket('ac'));
  });

  it('is kept as a hash that is not the plain SHA-256 of the text', () => {
    expect(hashTicket('abc')).not.toBe(createHash('sha256').update('abc').digest('hex'));
    expect(isTicketSecret(ticket, hashTicket('ABC'))).toBe(true);
    expect(isTicketSecret(ticket, hashTicket('abd'))).toBe(false);
  });

  it.each([
    ['open before its end', {}, 999, 'open'],
    ['expired at its end', {}, 1000, 'expired'],
    ['bound once a certificate was issued', { boundSpkiSha256: 'x' }, 0, 'bound'],
    ['spent once that was used', { boundSpkiSha256: 'x', spentAt: 5 }, 2000, 'spent'],
    ['revoked above all', { spentAt: 5, revokedAt: 6 }, 0, 'revoked'],
  ] as const)('is %s', (_, change, now, state) => expect(ticketState({ ...ticket, ...change }, now)).toBe(state));
});
