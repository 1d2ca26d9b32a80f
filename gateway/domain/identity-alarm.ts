import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AlarmKind, AlarmState } from '#gateway/contract/operator-api.ts';

/** Something that one identity in one place does not do. */
export type IdentityAlarm = {
  id: string;
  deviceId: DeviceId;
  kind: AlarmKind;
  state: AlarmState;
  at: number;
  /** JSON: what was seen. */
  evidence: string;
  decision: string | null;
  resolvedAt: number | null;
  resolvedBy: string | null;
};
