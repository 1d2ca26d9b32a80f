import { z } from 'zod';
import type * as api from '#gateway/contract/operator-api.ts';
import { ATTEMPT_OUTCOMES, ENROLLMENT_REQUEST_STATES, PROOF_LEVELS } from '#gateway/contract/operator-api.ts';
import { pageOf, time } from './response-fields.ts';

const door = z.enum(['est', 'mqtt']);

const enrollmentRequest = z.object({
  id: z.string(),
  deviceId: z.string(),
  group: z.string(),
  state: z.enum(ENROLLMENT_REQUEST_STATES),
  reason: z.string().describe('why a person has to decide'),
  grounds: z.string(),
  door,
  address: z.string(),
  keyKind: z.string(),
  proofLevel: z.enum(PROOF_LEVELS),
  spkiSha256: z.string().describe('SHA-256 of the SubjectPublicKeyInfo, to compare with what the device shows'),
  hardwareSerial: z.string().nullable(),
  known: z.enum(['unknown', 'registered', 'enrolled']),
  askedAt: time,
  lastAskedAt: time,
  timesAsked: z.int(),
  expiresAt: time,
  decidedAt: time.nullable(),
  decidedBy: z.string().nullable(),
  note: z.string().nullable(),
}) satisfies z.ZodType<api.EnrollmentRequestSummary>;

const manufacturerCa = z.object({
  group: z.string(),
  sha256: z.string().describe('SHA-256 of the DER, lower-case hexadecimal'),
  subject: z.string(),
  notAfter: time,
  note: z.string().nullable(),
  addedAt: time,
}) satisfies z.ZodType<api.ManufacturerCaSummary>;

const registrar = z.object({
  name: z.string(),
  groups: z.array(z.string()),
  serial: z.string(),
  notAfter: time,
  createdAt: time,
}) satisfies z.ZodType<api.RegistrarSummary>;

const attempt = z.object({
  id: z.string(),
  at: time,
  kind: z.enum(['enroll', 'reenroll', 'challenge']),
  door,
  address: z.string(),
  deviceId: z.string().nullable(),
  outcome: z.enum(ATTEMPT_OUTCOMES),
  code: z.string().nullable(),
  detail: z.string().nullable(),
  nextAction: z.string().nullable(),
  milliseconds: z.number(),
  steps: z.array(
    z.object({
      step: z.string(),
      outcome: z.enum(['ok', 'refused', 'waiting']),
      detail: z.string().nullable(),
      after: z.number().describe('milliseconds from the start of the attempt to the end of the step'),
    }),
  ),
}) satisfies z.ZodType<api.AttemptDetail>;

const endpoint = z.object({ host: z.string(), port: z.int() });

/** What operators get about who may enroll and how it went. */
export const ENROLLMENT_RESPONSE = {
  EnrollmentRequest: enrollmentRequest,
  EnrollmentRequestPage: pageOf(enrollmentRequest),
  TicketClaimed: z.object({
    deviceId: z.string(),
    ticketId: z.string(),
    serial: z.string(),
    notAfter: time,
    certificate: z.string().describe('PEM'),
    chain: z.array(z.string()).describe('PEM'),
    root: z.string().describe('PEM'),
    trustDomain: z.string(),
    est: endpoint,
    mqtt: endpoint,
  }) satisfies z.ZodType<api.TicketClaimed>,
  ManufacturerCa: manufacturerCa,
  ManufacturerCaPage: pageOf(manufacturerCa),
  Registrar: registrar,
  RegistrarPage: pageOf(registrar),
  RegistrarAdded: registrar.extend({
    certificate: z.string().describe('PEM'),
    chain: z.array(z.string()).describe('PEM'),
  }) satisfies z.ZodType<api.RegistrarAdded>,
  DevicesImported: z.object({
    items: z.array(
      z.object({
        deviceId: z.string(),
        outcome: z.enum(['added', 'unchanged', 'refused']),
        detail: z.string().nullable(),
      }),
    ),
  }) satisfies z.ZodType<api.DevicesImported>,
  GroupTested: z.object({
    outcome: z.enum(['issued', 'waits for approval', 'refused']),
    code: z.string().nullable(),
    rules: z.array(
      z.object({ rule: z.string(), outcome: z.enum(['passed', 'refused', 'not checked']), detail: z.string() }),
    ),
  }) satisfies z.ZodType<api.GroupTested>,
  Attempt: attempt,
  AttemptPage: pageOf(attempt),
} as const;
