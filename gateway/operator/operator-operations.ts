import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type {
  AllowedEkSummary,
  AttemptDetail,
  AttemptOutcome,
  AuditEvent,
  CaDescription,
  CertificateDetail,
  CertificateState,
  CertificateSummary,
  DeviceAdded,
  DeviceDetail,
  DeviceRevoked,
  DeviceState,
  DeviceSummary,
  DevicesImported,
  EksAllowed,
  EnrollmentGrounds,
  EnrollmentProgress,
  EnrollmentRequestState,
  EnrollmentRequestSummary,
  GroupDetail,
  GroupPolicy,
  GroupTested,
  HardwareReplaced,
  HealthCheck,
  KeyKind,
  ManufacturerCaSummary,
  Page,
  ProofLevel,
  RegistrarAdded,
  RegistrarSummary,
  RenewOrdered,
  TicketClaimed,
  TicketSummary,
  TpmRootSummary,
} from '#gateway/contract/operator-api.ts';
import type { AlarmOperations } from './alarm-operations.ts';
import type { CaRolloverOperations } from './ca-rollover-operations.ts';
import type { RenewalOperations } from './renewal-operations.ts';
import type { RevocationOperations } from './revocation-operations.ts';

type PageQuery = { limit: number; after?: string };
type ForDevice = { deviceId: DeviceId; actor: string };
/** requestedAt: monotonic milliseconds at which the request arrived. */
type EndOfDevice = ForDevice & { reason: RevocationReason; requestedAt: number };
type GroupChange = { name: string; change: Partial<GroupPolicy>; actor: string };
/** One device of an import. ekSha256 puts its endorsement key on the allow list, for this device alone. */
export type ImportEntry = {
  deviceId: DeviceId;
  group?: string;
  hardwareSerial?: string;
  owner?: string;
  ekSha256?: string;
};
/** A first enrollment that is only thought of. What is left out: see GroupTested. at: milliseconds UTC. */
type GroupTest = {
  name: string;
  deviceId?: DeviceId;
  keyKind?: KeyKind;
  proofLevel?: ProofLevel;
  address?: string;
  at?: number;
  grounds?: EnrollmentGrounds;
  bound?: boolean;
  askWebhook?: boolean;
};

/** The operations behind the operator API, bound to their own dependencies. They throw GatewayError and write the audit. */
export type OperatorOperations = AlarmOperations &
  CaRolloverOperations &
  RenewalOperations &
  RevocationOperations & {
    addDevice(order: ForDevice & { group?: string; hardwareSerial?: string; owner?: string }): Promise<DeviceAdded>;
    listDevices(query: PageQuery & { group?: string; state?: DeviceState }): Promise<Page<DeviceSummary>>;
    showDevice(deviceId: DeviceId): Promise<DeviceDetail>;
    revokeDevice(order: EndOfDevice): Promise<DeviceRevoked>;
    retireDevice(order: EndOfDevice): Promise<DeviceRevoked>;
    orderRenewal(order: ForDevice & { reason?: string }): Promise<RenewOrdered>;
    replaceHardware(
      order: ForDevice & { hardwareSerial?: string | null; requestedAt: number },
    ): Promise<HardwareReplaced>;
    addTicket(order: ForDevice): Promise<DeviceAdded>;
    showProgress(deviceId: DeviceId): Promise<EnrollmentProgress>;
    listCertificates(
      query: PageQuery & { state?: CertificateState; deviceId?: DeviceId },
    ): Promise<Page<CertificateSummary & { deviceId: string | null }>>;
    showCertificate(serial: string): Promise<CertificateDetail>;
    listGroups(): Promise<GroupDetail[]>;
    showGroup(name: string): Promise<GroupDetail>;
    addGroup(order: GroupChange): Promise<GroupDetail>;
    setGroup(order: GroupChange): Promise<GroupDetail>;
    testGroup(test: GroupTest): Promise<GroupTested>;
    listEnrollmentRequests(
      query: PageQuery & { state?: EnrollmentRequestState; group?: string },
    ): Promise<Page<EnrollmentRequestSummary>>;
    showEnrollmentRequest(id: string): Promise<EnrollmentRequestSummary>;
    approveEnrollment(order: { id: string; note?: string; actor: string }): Promise<EnrollmentRequestSummary>;
    refuseEnrollment(order: { id: string; reason: string; actor: string }): Promise<EnrollmentRequestSummary>;
    showAttempt(id: string): Promise<AttemptDetail>;
    listAttempts(query: PageQuery & { deviceId?: DeviceId; outcome?: AttemptOutcome }): Promise<Page<AttemptDetail>>;
    listTickets(query: PageQuery): Promise<Page<TicketSummary>>;
    revokeTicket(order: { id: string; actor: string }): Promise<TicketSummary>;
    /** csr: DER of a PKCS#10 request. seconds: at most one hour. The claim belongs to the device's open ticket. */
    claimTicket(order: ForDevice & { csr: Buffer; seconds: number }): Promise<TicketClaimed>;
    addManufacturerCa(order: {
      group: string;
      der: Buffer;
      note?: string;
      actor: string;
    }): Promise<ManufacturerCaSummary>;
    listManufacturerCas(query: { group?: string }): Promise<ManufacturerCaSummary[]>;
    removeManufacturerCa(order: { group: string; sha256: string; actor: string }): Promise<ManufacturerCaSummary>;
    addRegistrar(order: {
      name: string;
      groups: string[];
      csr: Buffer;
      lifetimeSeconds?: number;
      actor: string;
    }): Promise<RegistrarAdded>;
    listRegistrars(): Promise<RegistrarSummary[]>;
    removeRegistrar(order: { name: string; actor: string }): Promise<RegistrarSummary>;
    /** At most 1000 entries a call. */
    importDevices(order: { entries: ImportEntry[]; actor: string }): Promise<DevicesImported>;
    addTpmRoot(order: {
      der: Buffer;
      kind?: TpmRootSummary['kind'];
      note?: string;
      actor: string;
    }): Promise<TpmRootSummary>;
    listTpmRoots(query: PageQuery): Promise<Page<TpmRootSummary>>;
    removeTpmRoot(order: { sha256: string; actor: string }): Promise<TpmRootSummary>;
    allowEks(order: {
      entries: { ekSha256: string; deviceId?: DeviceId; note?: string }[];
      actor: string;
    }): Promise<EksAllowed>;
    listAllowedEks(query: PageQuery): Promise<Page<AllowedEkSummary>>;
    removeAllowedEk(order: { ekSha256: string; actor: string }): Promise<AllowedEkSummary>;
    listAudit(
      query: PageQuery & { subject?: string; action?: string; attemptId?: string; since?: number },
    ): Promise<Page<AuditEvent>>;
    describeCa(): Promise<CaDescription>;
    checkHealth(): Promise<HealthCheck[]>;
  };
