import type { DeviceId } from '#gateway/contract/device-id.ts';

/** The current and the last session of a device; one row a device, so the table does not grow with time. */
export type SessionRecord = {
  deviceId: DeviceId;
  current: { serial: string; address: string; since: number } | null;
  last: { serial: string; address: string; since: number; endedAt: number; endReason: string } | null;
};
