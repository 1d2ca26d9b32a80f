import type { RevocationJobItemState, RevocationJobState, RevocationScope } from './operator-api.ts';

/** Revocations of many certificates in the operator API. Times are milliseconds UTC. */

/** What a revocation would do now; nothing is changed. */
export type RevocationPlanned = {
  scope: RevocationScope;
  target: string;
  /** Certificates that would be revoked, devices they are of, and sessions that would be closed. */
  certificates: number;
  devices: number;
  sessions: number;
  /** The first of them by serial. */
  sample: { serial: string; deviceId: string | null }[];
  /** What it leaves alone and what to do about that; left out: nothing. */
  note?: string;
};

export type RevocationJobDetail = {
  id: string;
  scope: RevocationScope;
  target: string;
  reason: string;
  state: RevocationJobState;
  /** Certificates per second; null: as fast as it goes. */
  rate: number | null;
  createdAt: number;
  createdBy: string;
  finishedAt: number | null;
  /** `unchanged`: revoked or expired before its turn came. */
  items: Record<RevocationJobItemState, number>;
  /** Milliseconds from the decision to the closed socket, over the sessions that were open; null: none so far. */
  closed: { sessions: number; p50: number; p99: number; max: number } | null;
  /** What it leaves alone and what to do about that; left out: nothing. */
  note?: string;
};

export type RevocationJobItemDetail = {
  serial: string;
  deviceId: string | null;
  state: RevocationJobItemState;
  /** From the decision to the closed socket; null when no session was open. */
  closedAfterMs: number | null;
  detail: string | null;
};

/** `serials`: on the CRL as certificateHold, and good again after the release. */
export type DeviceHeld = { deviceId: string; serials: string[]; sessionsClosed: number; closedAfterMs: number };
export type DeviceReleased = { deviceId: string; serials: string[] };

/** Certificates per second that a revocation may be slowed down to. */
export const MAX_REVOCATION_RATE = 10_000;
