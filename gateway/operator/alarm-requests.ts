import { z } from 'zod';
import { CLONE_REACTIONS } from '#gateway/contract/alarm-api.ts';
import { ALARM_STATES } from '#gateway/contract/operator-api.ts';
import { CLONE_RULE_LIMITS } from '#gateway/domain/clone/clone-rules.ts';
import { deviceId, page, recordId, words } from './request-fields.ts';

const rule = ([least, most]: readonly [number, number]) => z.int().min(least).max(most).exactOptional();

/** What operators may send about alarms and quarantines. */
export const ALARM_REQUEST = {
  quarantine: z.strictObject({ reason: words(200).describe('the device is told') }),
  decision: z.strictObject({ decision: words(400).describe('what was found out; stands in the audit') }),
  alarmParams: z.strictObject({ alarmId: recordId }),
  alarmsQuery: z.strictObject({
    ...page,
    state: z.enum(ALARM_STATES).exactOptional(),
    deviceId: deviceId.exactOptional(),
  }),
  cloneRules: z.strictObject({
    reaction: z.enum(CLONE_REACTIONS).exactOptional(),
    pingPongTakeOvers: rule(CLONE_RULE_LIMITS.pingPongTakeOvers),
    pingPongSeconds: rule(CLONE_RULE_LIMITS.pingPongSeconds),
    twoPlacesSeconds: rule(CLONE_RULE_LIMITS.twoPlacesSeconds),
    supersededUses: rule(CLONE_RULE_LIMITS.supersededUses),
    supersededSeconds: rule(CLONE_RULE_LIMITS.supersededSeconds),
  }),
} as const;
