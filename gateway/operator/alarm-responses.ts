import { z } from 'zod';
import type * as api from '#gateway/contract/alarm-api.ts';
import { CLONE_REACTIONS } from '#gateway/contract/alarm-api.ts';
import { ALARM_KINDS, ALARM_STATES } from '#gateway/contract/operator-api.ts';
import { pageOf, time } from './response-fields.ts';

const alarm = z.object({
  id: z.string(),
  deviceId: z.string(),
  kind: z.enum(ALARM_KINDS),
  state: z.enum(ALARM_STATES),
  at: time,
  evidence: z.object({
    detail: z.string(),
    address: z.string().nullable(),
    serial: z.string().nullable(),
    times: z.int().describe('how often it was seen, at most once a minute'),
    lastAt: time,
  }),
  decision: z.string().nullable(),
  resolvedAt: time.nullable(),
  resolvedBy: z.string().nullable(),
}) satisfies z.ZodType<api.IdentityAlarmDetail>;

export const ALARM_RESPONSE = {
  Alarm: alarm,
  AlarmPage: pageOf(alarm),
  DeviceQuarantined: z.object({
    deviceId: z.string(),
    sessionsLimited: z.int(),
  }) satisfies z.ZodType<api.DeviceQuarantined>,
  QuarantineReleased: z.object({
    deviceId: z.string(),
    alarms: z.array(z.string()).describe('ids of those that this resolved'),
  }) satisfies z.ZodType<api.QuarantineReleased>,
  CloneRules: z.object({
    reaction: z.enum(CLONE_REACTIONS),
    pingPongTakeOvers: z.int().describe('to and fro between two networks, within pingPongSeconds'),
    pingPongSeconds: z.int(),
    twoPlacesSeconds: z.int().describe('from the last sign in one network to another run of the agent in another'),
    supersededUses: z.int().describe('within supersededSeconds'),
    supersededSeconds: z.int(),
  }) satisfies z.ZodType<api.CloneRules>,
} as const;
