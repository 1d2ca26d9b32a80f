import { z } from 'zod';
import type * as api from '#gateway/contract/ca-rollover-api.ts';
import { CA_ROLLOVER_PHASES, DEVICE_LACKS } from '#gateway/contract/ca-rollover-api.ts';
import { CA_GENERATION_STATES } from '#gateway/contract/operator-api.ts';
import { pageOf, time } from './response-fields.ts';

const generation = z.object({
  sha256: z.string().describe('SHA-256 of the DER, lower-case hexadecimal'),
  kind: z.enum(['root', 'intermediate', 'cross']),
  keyId: z.string(),
  subject: z.string(),
  state: z.enum(CA_GENERATION_STATES),
  notAfter: time,
  changedAt: time,
  reason: z.string().nullable(),
}) satisfies z.ZodType<api.CaGenerationSummary>;

const notReady = z.object({
  deviceId: z.string(),
  group: z.string(),
  connected: z.boolean(),
  lacks: z.array(z.enum(DEVICE_LACKS)),
  serial: z.string(),
  issuerKeyId: z.string(),
  notAfter: time,
  anchorsSeenAt: time.nullable(),
}) satisfies z.ZodType<api.DeviceNotReady>;

/** What operators get about the replacement of CAs. */
export const CA_ROLLOVER_RESPONSE = {
  CaRollover: z.object({
    phase: z.enum(CA_ROLLOVER_PHASES),
    trustVersion: z.int(),
    generations: z.array(generation),
    devices: z.int().describe('with a certificate in use'),
    ready: z.int(),
    readyPercent: z.number().describe('rounded down to a tenth'),
    withAnchors: z.int(),
    withCertificate: z.int(),
    next: z.string().describe('what to do next'),
  }) satisfies z.ZodType<api.CaRolloverStatus>,
  CaRolloverStep: z.object({
    keyId: z.string(),
    sha256: z.string(),
    state: z.enum(CA_GENERATION_STATES),
    trustVersion: z.int(),
    campaignId: z.string().nullable().describe('the renewals that were started'),
  }) satisfies z.ZodType<api.CaRolloverStep>,
  CaRolloverDevicePage: pageOf(notReady),
} as const;
