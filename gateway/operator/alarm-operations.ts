import type {
  CloneRules,
  DeviceQuarantined,
  IdentityAlarmDetail,
  QuarantineReleased,
} from '#gateway/contract/alarm-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AlarmState, Page } from '#gateway/contract/operator-api.ts';

type PageQuery = { limit: number; after?: string };

/** Identities that seem to be in two places, bound to their dependencies. */
export type AlarmOperations = {
  quarantineDevice(order: { deviceId: DeviceId; reason: string; actor: string }): Promise<DeviceQuarantined>;
  releaseQuarantine(order: { deviceId: DeviceId; decision: string; actor: string }): Promise<QuarantineReleased>;
  listAlarms(query: PageQuery & { state?: AlarmState; deviceId?: DeviceId }): Promise<Page<IdentityAlarmDetail>>;
  showAlarm(id: string): Promise<IdentityAlarmDetail>;
  resolveAlarm(order: { id: string; decision: string; actor: string }): Promise<IdentityAlarmDetail>;
  showCloneRules(): Promise<CloneRules>;
  setCloneRules(order: { change: Partial<CloneRules>; actor: string }): Promise<CloneRules>;
};
