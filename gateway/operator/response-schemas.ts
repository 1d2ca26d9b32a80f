import { z } from 'zod';
import type * as api from '#gateway/contract/operator-api.ts';
import {
  APPROVAL_RULES,
  CERTIFICATE_STATES,
  DEVICE_STATES,
  GRACE_DECISIONS,
  KEY_KINDS,
  NOTICE_STATES,
  PROOF_LEVELS,
} from '#gateway/contract/operator-api.ts';
import { ALARM_RESPONSE } from './alarm-responses.ts';
import { CA_ROLLOVER_RESPONSE } from './ca-rollover-responses.ts';
import { ENROLLMENT_RESPONSE } from './enrollment-responses.ts';
import { RENEWAL_RESPONSE } from './renewal-responses.ts';
import { pageOf, time } from './response-fields.ts';
import { REVOCATION_RESPONSE } from './revocation-responses.ts';

/** What operators get, for the OpenAPI document and the tests; each is checked by the compiler against the contract. */

const deviceId = z.string();

const certificateSummary = z.object({
  serial: z.string(),
  state: z.enum(CERTIFICATE_STATES),
  profile: z.string(),
  notBefore: time,
  notAfter: time,
  renewFrom: time.nullable().describe('when its renewal is planned to begin, milliseconds UTC'),
  sha256: z.string().describe('SHA-256 of the DER, lower-case hexadecimal'),
}) satisfies z.ZodType<api.CertificateSummary>;

const session = z.object({ since: time, address: z.string(), serial: z.string() });

const deviceSummary = z.object({
  deviceId,
  group: z.string(),
  state: z.enum(DEVICE_STATES),
  proofLevel: z.enum(PROOF_LEVELS),
  connected: z.boolean(),
  notAfter: time.nullable(),
  owner: z.string().nullable(),
}) satisfies z.ZodType<api.DeviceSummary>;

const deviceTpm = z.object({
  ekSha256: z.string(),
  maker: z
    .object({ manufacturer: z.string(), model: z.string().nullable(), version: z.string().nullable() })
    .nullable(),
  proofLevel: z.enum(PROOF_LEVELS),
  akName: z.string(),
  firstSeen: time,
  updatedAt: time,
}) satisfies z.ZodType<api.DeviceTpm>;

const tpmRoot = z.object({
  sha256: z.string().describe('SHA-256 of the DER, lower-case hexadecimal'),
  kind: z.enum(['root', 'intermediate']),
  subject: z.string(),
  notAfter: time,
  note: z.string().nullable(),
  addedAt: time,
}) satisfies z.ZodType<api.TpmRootSummary>;

const allowedEk = z.object({
  ekSha256: z.string().describe('SHA-256 of the SubjectPublicKeyInfo, lower-case hexadecimal'),
  deviceId: z.string().nullable(),
  note: z.string().nullable(),
  addedAt: time,
}) satisfies z.ZodType<api.AllowedEkSummary>;

const ticket = z.object({
  id: z.string(),
  deviceId,
  state: z.enum(['open', 'bound', 'spent', 'revoked', 'expired']),
  createdAt: time,
  expiresAt: time,
}) satisfies z.ZodType<api.TicketSummary>;

const outcome = z.enum(['ok', 'refused', 'failed']);

const auditEvent = z.object({
  id: z.int(),
  at: time,
  actor: z.string(),
  action: z.string(),
  subject: z.string(),
  attemptId: z.string().nullable(),
  outcome,
  code: z.string().nullable(),
  detail: z.string().nullable(),
}) satisfies z.ZodType<api.AuditEvent>;

const group = z.object({
  name: z.string(),
  version: z.int(),
  policy: z.object({
    lifetimeSeconds: z.int(),
    overlapSeconds: z.int(),
    pendingLapseSeconds: z.int(),
    ticketSeconds: z.int(),
    keys: z.array(z.enum(KEY_KINDS)),
    proof: z.enum(PROOF_LEVELS),
    publishProof: z.enum(PROOF_LEVELS).exactOptional(),
    readFrom: z.array(z.string()),
    owner: z.string().nullable(),
    approval: z.enum(APPROVAL_RULES),
    binding: z.enum(['optional', 'required']),
    networks: z.array(z.string()),
    hours: z.array(z.string()),
    maxDevices: z.int().nullable(),
    maxPerHour: z.int().nullable(),
    deviceIdPattern: z.string().nullable(),
    requireOwner: z.boolean(),
    webhook: z.string().nullable(),
    serverKeygen: z.boolean(),
    graceSeconds: z.int(),
    graceDecision: z.enum(GRACE_DECISIONS),
    noRevAvailBelowSeconds: z.int(),
  }),
  devices: z.int(),
}) satisfies z.ZodType<api.GroupDetail>;

const caCertificate = z.object({
  subject: z.string(),
  serial: z.string(),
  notBefore: time,
  notAfter: time,
  sha256: z.string(),
  keyId: z.string(),
  algorithm: z.string(),
}) satisfies z.ZodType<api.CaCertificateDetail>;

export const RESPONSE = {
  DeviceAdded: z.object({
    deviceId,
    ticket: z.string().describe('shown once'),
    joinUrl: z.string().describe('holds the ticket'),
    expiresAt: time,
  }) satisfies z.ZodType<api.DeviceAdded>,
  DevicePage: pageOf(deviceSummary),
  DeviceDetail: z.object({
    deviceId,
    group: z.string(),
    state: z.enum(DEVICE_STATES),
    proofLevel: z.enum(PROOF_LEVELS),
    owner: z.string().nullable(),
    hardwareSerial: z.string().nullable(),
    createdAt: time,
    tpm: deviceTpm.nullable(),
    certificates: z.array(certificateSummary),
    session: session.nullable(),
    lastSession: session.extend({ endedAt: time, endReason: z.string() }).nullable(),
    notices: z.array(z.object({ id: z.string(), kind: z.string(), seq: z.int(), state: z.enum(NOTICE_STATES) })),
    rolledBack: z.object({ serial: z.string(), reason: z.string(), at: time }).nullable(),
  }) satisfies z.ZodType<api.DeviceDetail>,
  DeviceRevoked: z.object({
    deviceId,
    serials: z.array(z.string()),
    sessionsClosed: z.int(),
    closedAfterMs: z.number().describe('from the arrival of the request to the last socket closed'),
  }) satisfies z.ZodType<api.DeviceRevoked>,
  HardwareReplaced: z.object({
    deviceId,
    ticket: z.string().describe('shown once'),
    joinUrl: z.string().describe('holds the ticket'),
    expiresAt: time,
    serials: z.array(z.string()),
    sessionsClosed: z.int(),
    previousEkSha256: z.string().nullable(),
  }) satisfies z.ZodType<api.HardwareReplaced>,
  TpmRoot: tpmRoot,
  TpmRootPage: pageOf(tpmRoot),
  AllowedEk: allowedEk,
  AllowedEkPage: pageOf(allowedEk),
  EksAllowed: z.object({
    items: z.array(z.object({ ekSha256: z.string(), outcome: z.enum(['added', 'changed', 'unchanged']) })),
  }) satisfies z.ZodType<api.EksAllowed>,
  RenewOrdered: z.object({
    deviceId,
    noticeId: z.string(),
    serial: z.string(),
    delivered: z.boolean(),
  }) satisfies z.ZodType<api.RenewOrdered>,
  EnrollmentProgress: z.object({
    deviceId,
    ticketState: ticket.shape.state,
    attempts: z.array(
      z.object({ id: z.string(), at: time, outcome, code: z.string().nullable(), detail: z.string().nullable() }),
    ),
    reachedAt: time.nullable(),
    issuedAt: time.nullable(),
    connectedAt: time.nullable(),
  }) satisfies z.ZodType<api.EnrollmentProgress>,
  CertificatePage: pageOf(certificateSummary.extend({ deviceId: z.string().nullable() })),
  CertificateDetail: certificateSummary.extend({
    deviceId: z.string().nullable(),
    proofLevel: z.enum(PROOF_LEVELS).nullable(),
    issuerKeyId: z.string(),
    spkiSha256: z.string(),
    revokedAt: time.nullable(),
    revocationReason: z.string().nullable(),
    pem: z.string(),
  }) satisfies z.ZodType<api.CertificateDetail>,
  GroupPage: pageOf(group),
  Group: group,
  ...ENROLLMENT_RESPONSE,
  ...REVOCATION_RESPONSE,
  ...ALARM_RESPONSE,
  ...RENEWAL_RESPONSE,
  ...CA_ROLLOVER_RESPONSE,
  TicketPage: pageOf(ticket),
  Ticket: ticket,
  AuditPage: pageOf(auditEvent),
  Ca: z.object({
    trustDomain: z.string(),
    root: caCertificate,
    intermediate: caCertificate,
    crl: z.object({ number: z.int(), thisUpdate: time, nextUpdate: time, entries: z.int() }).nullable(),
  }) satisfies z.ZodType<api.CaDescription>,
  Health: z.object({
    checks: z.array(
      z.object({ name: z.string(), ok: z.boolean(), detail: z.string(), advice: z.string().exactOptional() }),
    ),
  }),
  Problem: z.object({
    type: z.literal('about:blank'),
    title: z.string(),
    status: z.int(),
    code: z.string(),
    detail: z.string(),
  }) satisfies z.ZodType<api.Problem>,
} as const;

export type ResponseName = keyof typeof RESPONSE;
