import { z } from 'zod';
import {
  REVOCATION_JOB_ITEM_STATES,
  REVOCATION_JOB_STATES,
  REVOCATION_SCOPES,
} from '#gateway/contract/operator-api.ts';
import type * as api from '#gateway/contract/revocation-api.ts';
import { pageOf, time } from './response-fields.ts';

const milliseconds = z.number().describe('from the decision to the closed socket');

const job = z.object({
  id: z.string(),
  scope: z.enum(REVOCATION_SCOPES),
  target: z.string(),
  reason: z.string(),
  state: z.enum(REVOCATION_JOB_STATES),
  rate: z.int().nullable().describe('certificates per second; null: as fast as it goes'),
  createdAt: time,
  createdBy: z.string(),
  finishedAt: time.nullable(),
  items: z.object({ waiting: z.int(), revoked: z.int(), unchanged: z.int(), failed: z.int() }),
  closed: z
    .object({ sessions: z.int(), p50: milliseconds, p99: milliseconds, max: milliseconds })
    .nullable()
    .describe('of the sessions that were open'),
  note: z.string().exactOptional().describe('what it leaves alone, and what to do about that'),
}) satisfies z.ZodType<api.RevocationJobDetail>;

const item = z.object({
  serial: z.string(),
  deviceId: z.string().nullable(),
  state: z.enum(REVOCATION_JOB_ITEM_STATES),
  closedAfterMs: milliseconds.nullable(),
  detail: z.string().nullable(),
}) satisfies z.ZodType<api.RevocationJobItemDetail>;

export const REVOCATION_RESPONSE = {
  Revocation: job,
  RevocationPage: pageOf(job),
  RevocationItemPage: pageOf(item),
  RevocationPlanned: z.object({
    scope: z.enum(REVOCATION_SCOPES),
    target: z.string(),
    certificates: z.int(),
    devices: z.int(),
    sessions: z.int().describe('that would be closed'),
    sample: z.array(z.object({ serial: z.string(), deviceId: z.string().nullable() })),
    note: z.string().exactOptional().describe('what it leaves alone, and what to do about that'),
  }) satisfies z.ZodType<api.RevocationPlanned>,
  DeviceHeld: z.object({
    deviceId: z.string(),
    serials: z.array(z.string()),
    sessionsClosed: z.int(),
    closedAfterMs: z.number().describe('from the arrival of the request to the last socket closed'),
  }) satisfies z.ZodType<api.DeviceHeld>,
  DeviceReleased: z.object({
    deviceId: z.string(),
    serials: z.array(z.string()),
  }) satisfies z.ZodType<api.DeviceReleased>,
} as const;
