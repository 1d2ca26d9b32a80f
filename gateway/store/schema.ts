import type { ColumnType } from 'kysely';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { NoticeKind } from '#gateway/contract/notice.ts';
import type {
  AuditEvent,
  CertificateState,
  DeviceState,
  NoticeState,
  ProofLevel,
} from '#gateway/contract/operator-api.ts';
import type { Attempt } from '#gateway/domain/attempt.ts';
import type { TpmProofLevel } from '#gateway/domain/attestation/endorsement.ts';
import type { TpmRoot } from '#gateway/domain/attestation/trusted-tpm.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { EnrollmentRequest } from '#gateway/domain/enrollment-request.ts';
import type {
  AlarmColumns,
  CaGenerationColumns,
  CampaignColumns,
  CampaignItemColumns,
  RevocationJobColumns,
  RevocationJobItemColumns,
  StatusChangeColumns,
  StatusListColumns,
} from './fleet-schema.ts';

/**
 * The tables as the newest migration leaves them, for Kysely. Times are milliseconds UTC as integers; an adapter whose
 * driver gives 64-bit integers as text has to turn them into numbers.
 */
export interface Database {
  schema_migrations: { number: number; name: string };
  devices: DeviceColumns;
  device_groups: { name: string; version: number };
  group_policies: { name: string; version: number; policy: string; updated_at: number; updated_by: string };
  tickets: TicketColumns;
  enrollments: EnrollmentColumns;
  certificates: CertificateColumns;
  revocations: RevocationColumns;
  crls: { number: number; this_update: number; next_update: number; entries: number; der: Buffer };
  sessions: SessionColumns;
  notices: NoticeColumns;
  tpm_endorsements: EndorsementColumns;
  attestation_challenges: ChallengeColumns;
  ek_allow_list: EkAllowListColumns;
  tpm_roots: TpmRootColumns;
  audit_events: AuditColumns;
  leases: { name: string; holder: string; expires_at: number };
  enrollment_requests: RequestColumns;
  manufacturer_cas: ManufacturerCaColumns;
  registrars: RegistrarColumns;
  attempts: AttemptColumns;
  status_changes: StatusChangeColumns;
  status_lists: StatusListColumns;
  renewal_campaigns: CampaignColumns;
  renewal_campaign_items: CampaignItemColumns;
  revocation_jobs: RevocationJobColumns;
  revocation_job_items: RevocationJobItemColumns;
  ca_generations: CaGenerationColumns;
  identity_alarms: AlarmColumns;
  settings: { name: string; value: string };
}

export type DeviceColumns = {
  device_id: DeviceId;
  group_name: string;
  state: DeviceState;
  proof_level: ProofLevel;
  hardware_serial: string | null;
  owner: string | null;
  created_at: number;
  notice_seq: number;
  trust_seen: string | null;
  trust_seen_at: number | null;
  report_count: number | null;
  last_report: string | null;
};

export type TicketColumns = {
  id: string;
  device_id: DeviceId;
  secret_sha256: string;
  created_at: number;
  expires_at: number;
  created_by: string;
  bound_spki_sha256: string | null;
  bound_serial: string | null;
  spent_at: number | null;
  claim_serial: string | null;
  revoked_at: number | null;
};

export type EnrollmentColumns = {
  id: string;
  device_id: DeviceId;
  kind: Enrollment['kind'];
  door: Enrollment['door'];
  address: string;
  key_kind: string;
  spki_sha256: string;
  group_name: string | null;
  ticket_id: string | null;
  grounds: string | null;
  request_id: string | null;
  server_key_for: string | null;
  replaces_serial: string | null;
  serial: SerialNumber;
  evidence_sha256: string | null;
  issuance_order: string;
  state: Enrollment['state'];
  created_at: number;
  updated_at: number;
};

export type CertificateColumns = {
  serial: SerialNumber;
  issuer_key_id: string;
  device_id: DeviceId | null;
  profile: string;
  spki_sha256: string;
  sha256: string;
  state: CertificateState;
  proof_level: ProofLevel | null;
  not_before: number;
  not_after: number;
  issued_at: number;
  activated_at: number | null;
  supersede_at: number | null;
  lapse_at: number | null;
  revoked_at: number | null;
  revocation_reason: string | null;
  enrollment_id: string | null;
  lineage_id: string | null;
  renew_from: number | null;
  renew_until: number | null;
  der: Buffer;
  /** nextDueAt() of the row as it stands, so that a sweep finds its work by index. */
  next_due_at: number | null;
};

export type RevocationColumns = {
  serial: SerialNumber;
  device_id: DeviceId | null;
  reason: string;
  revoked_at: number;
  not_after: number;
  requested_by: string;
  closed_after_ms: number | null;
};

export type SessionColumns = {
  device_id: DeviceId;
  current_serial: string | null;
  current_address: string | null;
  current_since: number | null;
  last_serial: string | null;
  last_address: string | null;
  last_since: number | null;
  last_ended_at: number | null;
  last_end_reason: string | null;
};

export type NoticeColumns = {
  id: string;
  device_id: DeviceId;
  seq: number;
  kind: NoticeKind;
  token: string;
  state: NoticeState;
  created_at: number;
  expires_at: number;
  sent_at: number | null;
  acked_at: number | null;
  detail: string | null;
};

export type EndorsementColumns = {
  device_id: DeviceId;
  ek_sha256: string;
  ak_name: string;
  proof_level: TpmProofLevel;
  first_seen: number;
  updated_at: number;
  ak_public: Buffer;
  ek_certificate: Buffer | null;
  /** DER, a SEQUENCE of certificates. */
  ek_chain: Buffer;
};

export type ChallengeColumns = {
  id: string;
  device_id: DeviceId;
  asked_by: string;
  ek_sha256: string;
  proof_level: TpmProofLevel;
  ak_name: string;
  ak_public: Buffer;
  secret: Buffer;
  created_at: number;
  expires_at: number;
  used_at: number | null;
  ek_certificate: Buffer | null;
  ek_chain: Buffer;
};

export type EkAllowListColumns = {
  ek_sha256: string;
  note: string | null;
  device_id: DeviceId | null;
  added_at: number;
};

export type TpmRootColumns = {
  sha256: string;
  subject_sha256: string;
  kind: TpmRoot['kind'];
  note: string | null;
  added_at: number;
  der: Buffer;
};

export type RequestColumns = {
  id: string;
  device_id: DeviceId;
  group_name: string;
  grounds: string;
  door: EnrollmentRequest['door'];
  address: string;
  key_kind: string;
  spki_sha256: string;
  proof_level: ProofLevel;
  hardware_serial: string | null;
  reason: string;
  state: EnrollmentRequest['state'];
  asked_at: number;
  last_asked_at: number;
  times_asked: number;
  expires_at: number;
  decided_at: number | null;
  decided_by: string | null;
  note: string | null;
};

export type ManufacturerCaColumns = {
  group_name: string;
  sha256: string;
  subject_sha256: string;
  note: string | null;
  added_at: number;
  der: Buffer;
};

export type RegistrarColumns = {
  name: string;
  /** JSON. */
  group_names: string;
  serial: SerialNumber;
  not_after: number;
  created_at: number;
  created_by: string;
};

export type AttemptColumns = {
  id: string;
  at: number;
  kind: Attempt['kind'];
  door: Attempt['door'];
  address: string;
  device_id: string | null;
  outcome: Attempt['outcome'];
  code: string | null;
  detail: string | null;
  next_action: string | null;
  milliseconds: number;
  /** JSON. */
  steps: string;
};

export type AuditColumns = {
  id: ColumnType<number, never, never>;
  at: number;
  actor: string;
  action: string;
  subject: string;
  attempt_id: string | null;
  outcome: AuditEvent['outcome'];
  code: string | null;
  detail: string | null;
};
