import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { RevocationJobItemState, RevocationJobState, RevocationScope } from '#gateway/contract/operator-api.ts';

/** A revocation of many certificates, with its progress; it goes on after a restart. */
export type RevocationJob = {
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
};

export type RevocationJobItem = {
  jobId: string;
  serial: SerialNumber;
  deviceId: DeviceId | null;
  state: RevocationJobItemState;
  /** From the decision to the closed socket; null when no session was open. */
  closedAfterMs: number | null;
  detail: string | null;
};
