import type { CloneRules, DeviceQuarantined, IdentityAlarmDetail, QuarantineReleased } from './alarm-api.ts';
import type { CaRolloverStatus, CaRolloverStep, DeviceNotReady } from './ca-rollover-api.ts';
import type {
  AllowedEkSummary,
  AttemptDetail,
  AuditEvent,
  CaDescription,
  CertificateDetail,
  CertificateSummary,
  DeviceAdded,
  DeviceDetail,
  DeviceRevoked,
  DeviceSummary,
  DevicesImported,
  EksAllowed,
  EnrollmentProgress,
  EnrollmentRequestSummary,
  GroupDetail,
  GroupTested,
  HardwareReplaced,
  HealthCheck,
  ManufacturerCaSummary,
  Page,
  RegistrarAdded,
  RegistrarSummary,
  RenewOrdered,
  TicketClaimed,
  TicketSummary,
  TpmRootSummary,
} from './operator-api.ts';
import type { RenewalCampaignDetail, RenewalCampaignDevice, RenewalPlan } from './renewal-api.ts';
import type {
  DeviceHeld,
  DeviceReleased,
  RevocationJobDetail,
  RevocationJobItemDetail,
  RevocationPlanned,
} from './revocation-api.ts';

/** Devices in one import; a longer list comes in several. */
export const MAX_IMPORT_ENTRIES = 1000;
/** Seconds that the certificate of a claim lives at most. */
export const MAX_CLAIM_SECONDS = 3600;

/** The operator API by name. `:word` is a path parameter. */
export const OPERATOR_ROUTES = {
  addDevice: { method: 'POST', path: '/v1/devices' },
  listDevices: { method: 'GET', path: '/v1/devices' },
  showDevice: { method: 'GET', path: '/v1/devices/:deviceId' },
  revokeDevice: { method: 'POST', path: '/v1/devices/:deviceId/revoke' },
  retireDevice: { method: 'POST', path: '/v1/devices/:deviceId/retire' },
  renewDevice: { method: 'POST', path: '/v1/devices/:deviceId/renew' },
  replaceHardware: { method: 'POST', path: '/v1/devices/:deviceId/replace-hardware' },
  addTicket: { method: 'POST', path: '/v1/devices/:deviceId/tickets' },
  showProgress: { method: 'GET', path: '/v1/devices/:deviceId/progress' },
  listCertificates: { method: 'GET', path: '/v1/certificates' },
  showCertificate: { method: 'GET', path: '/v1/certificates/:serial' },
  listGroups: { method: 'GET', path: '/v1/groups' },
  addGroup: { method: 'POST', path: '/v1/groups' },
  showGroup: { method: 'GET', path: '/v1/groups/:name' },
  setGroup: { method: 'PATCH', path: '/v1/groups/:name' },
  testGroup: { method: 'POST', path: '/v1/groups/:name/test' },
  addManufacturerCa: { method: 'POST', path: '/v1/groups/:name/manufacturers' },
  removeManufacturerCa: { method: 'POST', path: '/v1/groups/:name/manufacturers/:fingerprint/remove' },
  listManufacturerCas: { method: 'GET', path: '/v1/manufacturers' },
  addRegistrar: { method: 'POST', path: '/v1/registrars' },
  listRegistrars: { method: 'GET', path: '/v1/registrars' },
  removeRegistrar: { method: 'POST', path: '/v1/registrars/:name/remove' },
  importDevices: { method: 'POST', path: '/v1/device-imports' },
  claimTicket: { method: 'POST', path: '/v1/devices/:deviceId/claims' },
  listEnrollmentRequests: { method: 'GET', path: '/v1/enrollments' },
  showEnrollmentRequest: { method: 'GET', path: '/v1/enrollments/:requestId' },
  approveEnrollment: { method: 'POST', path: '/v1/enrollments/:requestId/approve' },
  refuseEnrollment: { method: 'POST', path: '/v1/enrollments/:requestId/refuse' },
  listAttempts: { method: 'GET', path: '/v1/attempts' },
  showAttempt: { method: 'GET', path: '/v1/attempts/:attemptId' },
  listTickets: { method: 'GET', path: '/v1/tickets' },
  revokeTicket: { method: 'POST', path: '/v1/tickets/:ticketId/revoke' },
  addTpmRoot: { method: 'POST', path: '/v1/tpm/roots' },
  listTpmRoots: { method: 'GET', path: '/v1/tpm/roots' },
  removeTpmRoot: { method: 'POST', path: '/v1/tpm/roots/:fingerprint/remove' },
  allowEks: { method: 'POST', path: '/v1/tpm/allowed-eks' },
  listAllowedEks: { method: 'GET', path: '/v1/tpm/allowed-eks' },
  removeAllowedEk: { method: 'POST', path: '/v1/tpm/allowed-eks/:fingerprint/remove' },
  orderRevocation: { method: 'POST', path: '/v1/revocations' },
  planRevocation: { method: 'POST', path: '/v1/revocation-plans' },
  listRevocations: { method: 'GET', path: '/v1/revocations' },
  showRevocation: { method: 'GET', path: '/v1/revocations/:jobId' },
  listRevocationItems: { method: 'GET', path: '/v1/revocations/:jobId/items' },
  pauseRevocation: { method: 'POST', path: '/v1/revocations/:jobId/pause' },
  resumeRevocation: { method: 'POST', path: '/v1/revocations/:jobId/resume' },
  cancelRevocation: { method: 'POST', path: '/v1/revocations/:jobId/cancel' },
  holdDevice: { method: 'POST', path: '/v1/devices/:deviceId/hold' },
  releaseDevice: { method: 'POST', path: '/v1/devices/:deviceId/release' },
  planRenewals: { method: 'GET', path: '/v1/renewal-plan' },
  startRenewals: { method: 'POST', path: '/v1/renewals' },
  listRenewals: { method: 'GET', path: '/v1/renewals' },
  showRenewals: { method: 'GET', path: '/v1/renewals/:campaignId' },
  listRenewalDevices: { method: 'GET', path: '/v1/renewals/:campaignId/devices' },
  pauseRenewals: { method: 'POST', path: '/v1/renewals/:campaignId/pause' },
  resumeRenewals: { method: 'POST', path: '/v1/renewals/:campaignId/resume' },
  abortRenewals: { method: 'POST', path: '/v1/renewals/:campaignId/abort' },
  retryRenewals: { method: 'POST', path: '/v1/renewals/:campaignId/retry' },
  quarantineDevice: { method: 'POST', path: '/v1/devices/:deviceId/quarantine' },
  releaseQuarantine: { method: 'POST', path: '/v1/devices/:deviceId/release-quarantine' },
  listAlarms: { method: 'GET', path: '/v1/alarms' },
  showAlarm: { method: 'GET', path: '/v1/alarms/:alarmId' },
  resolveAlarm: { method: 'POST', path: '/v1/alarms/:alarmId/resolve' },
  showCloneRules: { method: 'GET', path: '/v1/clone-rules' },
  setCloneRules: { method: 'PATCH', path: '/v1/clone-rules' },
  showCaRollover: { method: 'GET', path: '/v1/ca/rollover' },
  listCaRolloverDevices: { method: 'GET', path: '/v1/ca/rollover/devices' },
  announceCa: { method: 'POST', path: '/v1/ca/rollover/announce' },
  discardCa: { method: 'POST', path: '/v1/ca/rollover/discard' },
  activateCa: { method: 'POST', path: '/v1/ca/rollover/activate' },
  taintCa: { method: 'POST', path: '/v1/ca/rollover/taint' },
  retireCa: { method: 'POST', path: '/v1/ca/rollover/retire' },
  listAudit: { method: 'GET', path: '/v1/audit' },
  describeCa: { method: 'GET', path: '/v1/ca' },
  checkHealth: { method: 'GET', path: '/v1/health' },
} as const;

/** What can be relied on, for programs: the operator API as OpenAPI 3.1, the MQTT contract as AsyncAPI 3. */
export const OPERATOR_DOCUMENTS = { operator: '/openapi.json', mqtt: '/asyncapi.json' } as const;

export type OperatorRoute = keyof typeof OPERATOR_ROUTES;

/** The JSON of a 2xx answer. Lists take `?limit=` (1 to 1000, else 100) and `?after=` (the `nextCursor` of the page before). */
export type OperatorResponses = {
  addDevice: DeviceAdded;
  listDevices: Page<DeviceSummary>;
  showDevice: DeviceDetail;
  revokeDevice: DeviceRevoked;
  retireDevice: DeviceRevoked;
  renewDevice: RenewOrdered;
  replaceHardware: HardwareReplaced;
  addTicket: DeviceAdded;
  showProgress: EnrollmentProgress;
  listCertificates: Page<CertificateSummary & { deviceId: string | null }>;
  showCertificate: CertificateDetail;
  listGroups: Page<GroupDetail>;
  addGroup: GroupDetail;
  showGroup: GroupDetail;
  setGroup: GroupDetail;
  testGroup: GroupTested;
  addManufacturerCa: ManufacturerCaSummary;
  removeManufacturerCa: ManufacturerCaSummary;
  listManufacturerCas: Page<ManufacturerCaSummary>;
  addRegistrar: RegistrarAdded;
  listRegistrars: Page<RegistrarSummary>;
  removeRegistrar: RegistrarSummary;
  importDevices: DevicesImported;
  claimTicket: TicketClaimed;
  listEnrollmentRequests: Page<EnrollmentRequestSummary>;
  showEnrollmentRequest: EnrollmentRequestSummary;
  approveEnrollment: EnrollmentRequestSummary;
  refuseEnrollment: EnrollmentRequestSummary;
  listAttempts: Page<AttemptDetail>;
  showAttempt: AttemptDetail;
  listTickets: Page<TicketSummary>;
  revokeTicket: TicketSummary;
  addTpmRoot: TpmRootSummary;
  listTpmRoots: Page<TpmRootSummary>;
  removeTpmRoot: TpmRootSummary;
  allowEks: EksAllowed;
  listAllowedEks: Page<AllowedEkSummary>;
  removeAllowedEk: AllowedEkSummary;
  orderRevocation: RevocationJobDetail;
  planRevocation: RevocationPlanned;
  listRevocations: Page<RevocationJobDetail>;
  showRevocation: RevocationJobDetail;
  listRevocationItems: Page<RevocationJobItemDetail>;
  pauseRevocation: RevocationJobDetail;
  resumeRevocation: RevocationJobDetail;
  cancelRevocation: RevocationJobDetail;
  holdDevice: DeviceHeld;
  releaseDevice: DeviceReleased;
  showCaRollover: CaRolloverStatus;
  listCaRolloverDevices: Page<DeviceNotReady>;
  announceCa: CaRolloverStep;
  discardCa: CaRolloverStep;
  activateCa: CaRolloverStep;
  taintCa: CaRolloverStep;
  retireCa: CaRolloverStep;
  planRenewals: RenewalPlan;
  startRenewals: RenewalCampaignDetail;
  listRenewals: Page<RenewalCampaignDetail>;
  showRenewals: RenewalCampaignDetail;
  listRenewalDevices: Page<RenewalCampaignDevice>;
  pauseRenewals: RenewalCampaignDetail;
  resumeRenewals: RenewalCampaignDetail;
  abortRenewals: RenewalCampaignDetail;
  retryRenewals: RenewalCampaignDetail;
  quarantineDevice: DeviceQuarantined;
  releaseQuarantine: QuarantineReleased;
  listAlarms: Page<IdentityAlarmDetail>;
  showAlarm: IdentityAlarmDetail;
  resolveAlarm: IdentityAlarmDetail;
  showCloneRules: CloneRules;
  setCloneRules: CloneRules;
  listAudit: Page<AuditEvent>;
  describeCa: CaDescription;
  checkHealth: { checks: HealthCheck[] };
};

/**
 * The path of a route with its parameters filled in, in the order in which they stand there, and the query.
 * @throws RangeError when there are fewer parameters than the path has.
 */
export function operatorPath(
  route: OperatorRoute,
  params: readonly string[] = [],
  query: Readonly<Record<string, string | number | null | undefined>> = {},
): string {
  const rest = [...params];
  const path = OPERATOR_ROUTES[route].path.replace(/:[A-Za-z]+/g, (word) => {
    const value = rest.shift();
    if (value === undefined) throw new RangeError(`${route} needs ${word.slice(1)}`);
    return encodeURIComponent(value);
  });
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) search.set(name, String(value));
  }
  return search.size === 0 ? path : `${path}?${search.toString()}`;
}
