import type {
  CaGenerationTable,
  IdentityAlarmTable,
  RenewalCampaignTable,
  RevocationJobTable,
  StatusChangeTable,
  StatusListTable,
} from './fleet-tables.ts';
import type {
  AttemptTable,
  AuditTable,
  CertificateTable,
  ChallengeTable,
  CrlTable,
  DeviceTable,
  EkAllowListTable,
  EndorsementTable,
  EnrollmentRequestTable,
  EnrollmentTable,
  GroupTable,
  LeaseTable,
  ManufacturerCaTable,
  NoticeTable,
  RegistrarTable,
  RevocationTable,
  SessionTable,
  SettingTable,
  TicketTable,
  TpmRootTable,
} from './tables.ts';

export type Tables = {
  devices: DeviceTable;
  groups: GroupTable;
  tickets: TicketTable;
  enrollments: EnrollmentTable;
  enrollmentRequests: EnrollmentRequestTable;
  manufacturerCas: ManufacturerCaTable;
  registrars: RegistrarTable;
  attempts: AttemptTable;
  certificates: CertificateTable;
  revocations: RevocationTable;
  crls: CrlTable;
  sessions: SessionTable;
  notices: NoticeTable;
  endorsements: EndorsementTable;
  challenges: ChallengeTable;
  ekAllowList: EkAllowListTable;
  tpmRoots: TpmRootTable;
  audit: AuditTable;
  statusChanges: StatusChangeTable;
  statusLists: StatusListTable;
  renewalCampaigns: RenewalCampaignTable;
  revocationJobs: RevocationJobTable;
  caGenerations: CaGenerationTable;
  identityAlarms: IdentityAlarmTable;
  leases: LeaseTable;
  settings: SettingTable;
};

export type StoreErrorCode = 'CONFLICT' | 'UNAVAILABLE' | 'SCHEMA_TOO_NEW' | 'CORRUPT';

export class StoreError extends Error {
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
    this.code = code;
  }
}

export interface Store {
  /** Committed data only: what a transaction in progress has written is not seen here. */
  readonly read: Tables;
  /**
   * One transaction. Resolves after the commit is durable; rejects with the work's own error after taking back all it
   * wrote. Works waiting at the same time may share one commit, but never see each other's failure. The work may be
   * held up by others, so it does nothing slow: no network, no signing by the authority.
   */
  write<T>(work: (tables: Tables) => Promise<T>): Promise<T>;
  /** Rejects when a trivial durable write does not succeed. */
  probe(): Promise<void>;
  close(): Promise<void>;
}
