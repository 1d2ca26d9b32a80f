import { createHash, timingSafeEqual } from 'node:crypto';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { TicketSummary } from '#gateway/contract/operator-api.ts';

/** A one-time right to enroll one device: 128 random bits shown once and stored as SHA-256 only. */
export type Ticket = {
  id: string;
  deviceId: DeviceId;
  secretSha256: string;
  createdAt: number;
  expiresAt: number;
  createdBy: string;
  /** The key the first certificate under this ticket was issued for: asked again with it, the same certificate is given. */
  boundSpkiSha256: string | null;
  boundSerial: string | null;
  /** Set when that certificate was first used: from then on the ticket opens nothing. */
  spentAt: number | null;
  /** Of the newest short-lived certificate that was made of this ticket; reserved before the authority is asked. */
  claimSerial: string | null;
  revokedAt: number | null;
};

export type TicketState = TicketSummary['state'];

export function ticketState(ticket: Ticket, now: number): TicketState {
  if (ticket.revokedAt !== null) return 'revoked';
  if (ticket.spentAt !== null) return 'spent';
  if (now >= ticket.expiresAt) return 'expired';
  return ticket.boundSpkiSha256 === null ? 'open' : 'bound';
}

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

/** 16 random bytes as 26 characters a person can type: no i, l, o or u (Crockford base32). */
export function formatTicket(random: Uint8Array): string {
  let bits = 0;
  let held = 0;
  let text = '';
  for (const byte of random) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += CROCKFORD[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return bits > 0 ? text + CROCKFORD[(held << (5 - bits)) & 31] : text;
}

export function hashTicket(text: string): string {
  return createHash('sha256')
    .update(`gatehouse-ticket-v1\0${readTypedTicket(text)}`)
    .digest('hex');
}

/** Typed by hand: case does not matter, dashes and spaces are skipped, o is 0 and i or l is 1. */
export function readTypedTicket(text: string): string {
  return text.toLowerCase().replace(/[-\s]/g, '').replace(/o/g, '0').replace(/[il]/g, '1');
}

/** Whether a text may be a ticket, as typed: 26 characters of its alphabet. */
export function isLikeTicket(text: string): boolean {
  return /^[0-9a-hjkmnp-tv-z]{26}$/.test(readTypedTicket(text));
}

/** Constant time, so that the answer's delay tells nothing about the hash. */
export function isTicketSecret(ticket: Ticket, secretSha256: string): boolean {
  return timingSafeEqual(Buffer.from(ticket.secretSha256, 'hex'), Buffer.from(secretSha256, 'hex'));
}
