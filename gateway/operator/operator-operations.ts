import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type {
  AllowedEkSummary,
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
  EksAllowed,
  EnrollmentProgress,
  GroupDetail,
  GroupPolicy,
  HardwareReplaced,
  HealthCheck,
  Page,
  RenewOrdered,
  TicketSummary,
  TpmRootSummary,
} from '#gateway/contract/operator-api.ts';

type PageQuery = { limit: number; after?: string };
type ForDevice = { deviceId: DeviceId; actor: string };
/** requestedAt: monotonic milliseconds at which the request arrived. */
type EndOfDevice = ForDevice & { reason: RevocationReason; requestedAt: number };
type GroupChange = { name: string; change: Partial<GroupPolicy>; actor: string };

/** The operations behind the operator API, bound to their own dependencies. They throw GatewayError and write the audit. */
export type OperatorOperations = {
  addDevice(order: ForDevice & { group?: string; hardwareSerial?: string; owner?: string }): Promise<DeviceAdded>;
  listDevices(query: PageQuery & { group?: string; state?: DeviceState }): Promise<Page<DeviceSummary>>;
  showDevice(deviceId: DeviceId): Promise<DeviceDetail>;
  revokeDevice(order: EndOfDevice): Promise<DeviceRevoked>;
  retireDevice(order: EndOfDevice): Promise<DeviceRevoked>;
  orderRenewal(order: ForDevice & { reason?: string }): Promise<RenewOrdered>;
  replaceHardware(order: ForDevice & { requestedAt: number }): Promise<HardwareReplaced>;
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
  listTickets(query: PageQuery): Promise<Page<TicketSummary>>;
  revokeTicket(order: { id: string; actor: string }): Promise<TicketSummary>;
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
