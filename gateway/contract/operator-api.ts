/** The operator API as JSON: what `gatehouse ... --json` prints. Times are milliseconds UTC. Others' scripts rely on these names. */

export const PROOF_LEVELS = ['software', 'tpm', 'tpm-endorsed'] as const;
export type ProofLevel = (typeof PROOF_LEVELS)[number];

export const DEVICE_STATES = ['registered', 'enrolled', 'quarantined', 'revoked', 'retired'] as const;
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
