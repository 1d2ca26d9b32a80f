import { type CloneRulesDeps, setCloneRules, showCloneRules } from '#gateway/operations/clone-rules-book.ts';
import { listAlarms, resolveAlarm, showAlarm } from '#gateway/operations/manage-alarms.ts';
import { type QuarantineDeps, quarantineDevice } from '#gateway/operations/quarantine-device.ts';
import { releaseQuarantine } from '#gateway/operations/release-quarantine.ts';
import type { AlarmOperations } from './operator/alarm-operations.ts';

export type AlarmDeps = QuarantineDeps & CloneRulesDeps;

export function bindAlarmOperations(deps: AlarmDeps): AlarmOperations {
  return {
    quarantineDevice: (order) => quarantineDevice(deps, order),
    releaseQuarantine: (order) => releaseQuarantine(deps, order),
    listAlarms: (query) => listAlarms(deps, query),
    showAlarm: (id) => showAlarm(deps, id),
    resolveAlarm: (order) => resolveAlarm(deps, order),
    showCloneRules: () => showCloneRules(deps),
    setCloneRules: (order) => setCloneRules(deps, order),
  };
}
