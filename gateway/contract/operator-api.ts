/** The operator API as JSON: what `gatehouse ... --json` prints. Times are milliseconds UTC. Others' scripts rely on these names. */

export * from './fleet-states.ts';

export const PROOF_LEVELS = ['software', 'tpm', 'tpm-endorsed'] as const;
export type ProofLevel = (typeof PROOF_LEVELS)[number];

/** `held`: nothing of it is good until it is released, and then everything as before. */
export const DEVICE_STATES = ['registered', 'enrolled', 'held', 'quarantined', 'revoked', 'retired'] as const;
export type DeviceState = (typeof DEVICE_STATES)[number];

export const CERTIFICATE_STATES = ['pending', 'active', 'superseded', 'expired', 'revoked'] as const;
export type CertificateState = (typeof CERTIFICATE_STATES)[number];

export const KEY_KINDS = ['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048', 'rsa-3072', 'rsa-4096'] as const;
export type KeyKind = (typeof KEY_KINDS)[number];

/** `outbox`: not yet handed over; `sent`: on the wire; the rest as the agent acknowledged it. */
export const NOTICE_STATES = ['outbox', 'sent', 'received', 'done', 'failed', 'expired'] as const;
export type NoticeState = (typeof NOTICE_STATES)[number];

export type DeviceAdded = { deviceId: string; ticket: string; joinUrl: string; expiresAt: number };

export type DeviceSummary = {
  deviceId: string;
  group: string;
  state: DeviceState;
  proofLevel: ProofLevel;
  connected: boolean;
  notAfter: number | null;
  owner: string | null;
};

export type CertificateSummary = {
  serial: string;
  state: CertificateState;
  profile: string;
  notBefore: number;
  notAfter: number;
  /** When its renewal is planned to begin; null when none is. */
  renewFrom: number | null;
  /** SHA-256 of the DER, lower-case hexadecimal. */
  sha256: string;
};

export type CertificateDetail = CertificateSummary & {
  deviceId: string | null;
  proofLevel: ProofLevel | null;
  issuerKeyId: string;
  spkiSha256: string;
  revokedAt: number | null;
  revocationReason: string | null;
  pem: string;
};

type SessionSummary = { since: number; address: string; serial: string };

type NoticeSummary = { id: string; kind: string; seq: number; state: NoticeState };

export type DeviceDetail = {
  deviceId: string;
  group: string;
  state: DeviceState;
  proofLevel: ProofLevel;
  owner: string | null;
  hardwareSerial: string | null;
  createdAt: number;
  /** The TPM it has proved to hold. */
  tpm: DeviceTpm | null;
  certificates: CertificateSummary[];
  session: SessionSummary | null;
  /** The session before, or the one that just ended, and why. */
  lastSession: (SessionSummary & { endedAt: number; endReason: string }) | null;
  notices: NoticeSummary[];
  /** The certificate of its last renewal that did not work: it went back to the one before, and says so. */
  rolledBack: { serial: string; reason: string; at: number } | null;
};

export type DeviceTpm = {
  /** SHA-256 of the SubjectPublicKeyInfo of its endorsement key, lower-case hexadecimal. */
  ekSha256: string;
  /** From the EK certificate, when it has one: manufacturer, model and firmware version as the maker wrote them. */
  maker: { manufacturer: string; model: string | null; version: string | null } | null;
  proofLevel: ProofLevel;
  /** Name of its attestation key, lower-case hexadecimal. */
  akName: string;
  firstSeen: number;
  updatedAt: number;
};

export type DeviceRevoked = {
  deviceId: string;
  serials: string[];
  sessionsClosed: number;
  /** From the request's arrival to the last socket closed; 0 when no session was open. */
  closedAfterMs: number;
};

/** A new ticket for the device, and what of its old hardware ended. */
export type HardwareReplaced = DeviceAdded & {
  serials: string[];
  sessionsClosed: number;
  /** Of the old TPM; null when it had shown none. */
  previousEkSha256: string | null;
};

/** A TPM maker's CA certificate. A root is trusted; an intermediate only helps to find the way to one. */
export type TpmRootSummary = {
  /** SHA-256 of the DER, lower-case hexadecimal. */
  sha256: string;
  kind: 'root' | 'intermediate';
  subject: string;
  notAfter: number;
  note: string | null;
  addedAt: number;
};

/** An endorsement key that counts as endorsed without a maker's certificate. */
export type AllowedEkSummary = { ekSha256: string; deviceId: string | null; note: string | null; addedAt: number };

export type EksAllowed = { items: { ekSha256: string; outcome: 'added' | 'changed' | 'unchanged' }[] };

export type RenewOrdered = { deviceId: string; noticeId: string; serial: string; delivered: boolean };

/** `registered`: devices that are registered, by hand or by CSV. `auto`: also unknown ones of a trusted maker. `manual`: a person decides each. */
export const APPROVAL_RULES = ['registered', 'auto', 'manual'] as const;
export type ApprovalRule = (typeof APPROVAL_RULES)[number];

export type GroupPolicy = {
  /** Seconds a device certificate lives. */
  lifetimeSeconds: number;
  /** Seconds the old certificate stays good once its successor has been used, unless the agent reports its switch sooner. */
  overlapSeconds: number;
  /** Seconds an issued certificate may stay unused before it is revoked. */
  pendingLapseSeconds: number;
  /** Seconds a ticket lives. */
  ticketSeconds: number;
  keys: KeyKind[];
  /** Lowest proof level a device of this group may enroll and renew with. */
  proof: ProofLevel;
  /** Lowest proof level with which a device of this group may publish telemetry (`out/data`); left out: any. */
  publishProof?: ProofLevel;
  /** Groups whose devices' telemetry (`out/data`) the devices of this group may read. */
  readFrom: string[];
  owner: string | null;
  /** Who may enroll for the first time. Left out of a policy stored by an older version: the default. */
  approval: ApprovalRule;
  /** Whether a CSR must be bound to its TLS session (RFC 7030 3.5); one that claims to be is always checked. */
  binding: 'optional' | 'required';
  /** CIDR ranges that requests may come from; empty: any. */
  networks: string[];
  /** When first enrollments are taken, UTC, as `Mon-Fri 08:00-18:00`; empty: always. */
  hours: string[];
  /** Most devices that may be enrolled in the group. */
  maxDevices: number | null;
  /** Most first certificates within an hour. */
  maxPerHour: number | null;
  /** What device ids look like: `*` stands for any characters, `?` for one. */
  deviceIdPattern: string | null;
  /** A device without an owner is not enrolled. */
  requireOwner: boolean;
  /** https URL asked before each issue; no answer within 5 s is a no. */
  webhook: string | null;
  /** EST serverkeygen (RFC 7030 4.4). */
  serverKeygen: boolean;
  /** Seconds after its end in which a certificate may still do one thing: re-enroll. 0: not at all. */
  graceSeconds: number;
  /** What happens to such a request; by its score it may be less, never more. */
  graceDecision: GraceDecision;
  /** Certificates that live shorter than this many seconds say that no status is published for them (RFC 9608); 0: none. */
  noRevAvailBelowSeconds: number;
};

export const GRACE_DECISIONS = ['auto', 'approval', 'refuse'] as const;
export type GraceDecision = (typeof GRACE_DECISIONS)[number];

export const ENROLLMENT_REQUEST_STATES = ['waiting', 'approved', 'refused', 'expired', 'used'] as const;
export type EnrollmentRequestState = (typeof ENROLLMENT_REQUEST_STATES)[number];

/** A first enrollment that waits, or waited, for a person. */
export type EnrollmentRequestSummary = {
  id: string;
  deviceId: string;
  group: string;
  state: EnrollmentRequestState;
  /** Why a person has to decide. */
  reason: string;
  /** How it may ask: `ticket:<id>`, `claim:<serial>`, `manufacturer:<CA>`, `registrar:<name>`. */
  grounds: string;
  door: 'est' | 'mqtt';
  address: string;
  keyKind: string;
  proofLevel: ProofLevel;
  /** SHA-256 of the public key (SubjectPublicKeyInfo), to compare with what the device shows. */
  spkiSha256: string;
  hardwareSerial: string | null;
  /** Whether the device is registered, and has a certificate in use now. */
  known: 'unknown' | 'registered' | 'enrolled';
  askedAt: number;
  lastAskedAt: number;
  timesAsked: number;
  expiresAt: number;
  decidedAt: number | null;
  decidedBy: string | null;
  note: string | null;
};

/** PEM: the certificate of a claim, its issuer and the root; with where to use it. */
export type TicketClaimed = {
  deviceId: string;
  ticketId: string;
  serial: string;
  notAfter: number;
  certificate: string;
  chain: string[];
  root: string;
  trustDomain: string;
  est: { host: string; port: number };
  mqtt: { host: string; port: number };
};

export type ManufacturerCaSummary = {
  group: string;
  /** Of the DER, lower-case hexadecimal. */
  sha256: string;
  subject: string;
  notAfter: number;
  note: string | null;
  addedAt: number;
};

export type RegistrarSummary = { name: string; groups: string[]; serial: string; notAfter: number; createdAt: number };
/** PEM. */
export type RegistrarAdded = RegistrarSummary & { certificate: string; chain: string[] };

export type DevicesImported = {
  items: { deviceId: string; outcome: 'added' | 'unchanged' | 'refused'; detail: string | null }[];
};

/** What a first enrollment rests on. */
export const ENROLLMENT_GROUNDS = ['ticket', 'claim', 'manufacturer', 'registrar'] as const;
export type EnrollmentGrounds = (typeof ENROLLMENT_GROUNDS)[number];

/** What a request would get: every rule that was looked at, in the order in which they are. */
export type GroupTested = {
  outcome: 'issued' | 'waits for approval' | 'refused';
  code: string | null;
  rules: { rule: string; outcome: 'passed' | 'refused' | 'not checked'; detail: string }[];
};

export const ATTEMPT_OUTCOMES = ['issued', 'given-again', 'challenged', 'pending', 'refused', 'failed'] as const;
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number];

export type AttemptDetail = {
  id: string;
  at: number;
  kind: 'enroll' | 'reenroll' | 'challenge';
  door: 'est' | 'mqtt';
  address: string;
  deviceId: string | null;
  outcome: AttemptOutcome;
  code: string | null;
  detail: string | null;
  /** What to do next, in words. */
  nextAction: string | null;
  milliseconds: number;
  /** In order; `after` is milliseconds from the start to its end. The last one is the one that failed, if one did. */
  steps: { step: string; outcome: 'ok' | 'refused' | 'waiting'; detail: string | null; after: number }[];
};

export type GroupDetail = { name: string; version: number; policy: GroupPolicy; devices: number };

export type TicketSummary = {
  id: string;
  deviceId: string;
  state: 'open' | 'bound' | 'spent' | 'revoked' | 'expired';
  createdAt: number;
  expiresAt: number;
};

export type AuditEvent = {
  id: number;
  at: number;
  actor: string;
  action: string;
  subject: string;
  attemptId: string | null;
  outcome: 'ok' | 'refused' | 'failed';
  code: string | null;
  detail: string | null;
};

/** The steps of an enrollment, as the technician's script shows them live. */
export type EnrollmentProgress = {
  deviceId: string;
  ticketState: TicketSummary['state'];
  /** Newest first: what the gateway saw of this device since the ticket was made. */
  attempts: {
    id: string;
    at: number;
    outcome: 'ok' | 'refused' | 'failed';
    code: string | null;
    detail: string | null;
  }[];
  reachedAt: number | null;
  issuedAt: number | null;
  connectedAt: number | null;
};

export type Page<T> = { items: T[]; nextCursor: string | null };

export type CaDescription = {
  trustDomain: string;
  root: CaCertificateDetail;
  intermediate: CaCertificateDetail;
  crl: { number: number; thisUpdate: number; nextUpdate: number; entries: number } | null;
};

export type CaCertificateDetail = {
  subject: string;
  serial: string;
  notBefore: number;
  notAfter: number;
  sha256: string;
  keyId: string;
  algorithm: string;
};

export type HealthCheck = { name: string; ok: boolean; detail: string; advice?: string };

/** application/problem+json (RFC 9457). */
export type Problem = { type: 'about:blank'; title: string; status: number; code: string; detail: string };
