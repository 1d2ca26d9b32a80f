import type { IdentityAlarmDetail } from '#gateway/contract/alarm-api.ts';
import { formatTime } from './format-time.ts';
import { printFields, printTable } from './output.ts';

/** @param now milliseconds UTC */
export function printAlarms(alarms: readonly IdentityAlarmDetail[], now: number): void {
  printTable(
    ['alarm', 'device', 'what', 'state', 'since', 'seen'],
    alarms.map(({ id, deviceId, kind, state, at, evidence }) => [
      id,
      deviceId,
      kind,
      state,
      formatTime(at, now),
      evidence.detail,
    ]),
    'no alarms',
  );
}

/** @param now milliseconds UTC */
export function printAlarm(alarm: IdentityAlarmDetail, now: number): void {
  const { evidence, resolvedAt } = alarm;
  printFields({
    alarm: alarm.id,
    device: alarm.deviceId,
    what: alarm.kind,
    state: alarm.state,
    since: formatTime(alarm.at, now),
    seen: evidence.detail,
    from: evidence.address ?? undefined,
    certificate: evidence.serial ?? undefined,
    times: evidence.times === 1 ? undefined : `${evidence.times}, last ${formatTime(evidence.lastAt, now)}`,
    decision: alarm.decision ?? undefined,
    resolved: resolvedAt === null ? undefined : `${formatTime(resolvedAt, now)} by ${alarm.resolvedBy ?? '-'}`,
  });
}
