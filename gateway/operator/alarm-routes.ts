import { ALARM_REQUEST as TAKES } from './alarm-requests.ts';
import { REQUEST } from './request-schemas.ts';
import { type RouteDefinition, route } from './route-definition.ts';

/** Identities that seem to be in two places: the alarms, the quarantine, and what counts as a sign. */
export const ALARM_ROUTES: readonly RouteDefinition[] = [
  route('quarantineDevice', {
    summary: 'Leave a device only the topics that an identity needs; its certificates stand, and it gets no other',
    response: 'DeviceQuarantined',
    params: REQUEST.deviceParams,
    body: TAKES.quarantine,
    answer: (operations, { params, body }, { actor }) => operations.quarantineDevice({ ...params, ...body, actor }),
  }),
  route('releaseQuarantine', {
    summary: 'End a quarantine and the alarms about the device',
    response: 'QuarantineReleased',
    params: REQUEST.deviceParams,
    body: TAKES.decision,
    answer: (operations, { params, body }, { actor }) => operations.releaseQuarantine({ ...params, ...body, actor }),
  }),
  route('listAlarms', {
    summary: 'Signs that an identity is in two places, newest first',
    response: 'AlarmPage',
    query: TAKES.alarmsQuery,
    answer: (operations, { query }) => operations.listAlarms(query),
  }),
  route('showAlarm', {
    summary: 'One of them: what was seen, and what was decided',
    response: 'Alarm',
    params: TAKES.alarmParams,
    answer: (operations, { params }) => operations.showAlarm(params.alarmId),
  }),
  route('resolveAlarm', {
    summary: 'Close an alarm with what was decided; a quarantine stays',
    response: 'Alarm',
    params: TAKES.alarmParams,
    body: TAKES.decision,
    answer: (operations, { params, body }, { actor }) =>
      operations.resolveAlarm({ id: params.alarmId, ...body, actor }),
  }),
  route('showCloneRules', {
    summary: 'What counts as a sign of a copied identity',
    response: 'CloneRules',
    answer: (operations) => operations.showCloneRules(),
  }),
  route('setCloneRules', {
    summary: 'Change what is named of it, from now on',
    response: 'CloneRules',
    body: TAKES.cloneRules,
    answer: (operations, { body }, { actor }) => operations.setCloneRules({ change: body, actor }),
  }),
];
