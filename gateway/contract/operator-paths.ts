import type {
  AllowedEkSummary,
  AuditEvent,
  CaDescription,
  CertificateDetail,
  CertificateSummary,
  DeviceAdded,
  DeviceDetail,
  DeviceRevoked,
  DeviceSummary,
  EksAllowed,
  EnrollmentProgress,
  GroupDetail,
  HardwareReplaced,
  HealthCheck,
  Page,
  RenewOrdered,
  TicketSummary,
  TpmRootSummary,
} from './operator-api.ts';

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
  listTickets: { method: 'GET', path: '/v1/tickets' },
  revokeTicket: { method: 'POST', path: '/v1/tickets/:ticketId/revoke' },
  addTpmRoot: { method: 'POST', path: '/v1/tpm/roots' },
  listTpmRoots: { method: 'GET', path: '/v1/tpm/roots' },
  removeTpmRoot: { method: 'POST', path: '/v1/tpm/roots/:fingerprint/remove' },
  allowEks: { method: 'POST', path: '/v1/tpm/allowed-eks' },
  listAllowedEks: { method: 'GET', path: '/v1/tpm/allowed-eks' },
  removeAllowedEk: { method: 'POST', path: '/v1/tpm/allowed-eks/:fingerprint/remove' },
  listAudit: { method: 'GET', path: '/v1/audit' },
  describeCa: { method: 'GET', path: '/v1/ca' },
  checkHealth: { method: 'GET', path: '/v1/health' },
} as const;

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
  listTickets: Page<TicketSummary>;
  revokeTicket: TicketSummary;
  addTpmRoot: TpmRootSummary;
  listTpmRoots: Page<TpmRootSummary>;
  removeTpmRoot: TpmRootSummary;
  allowEks: EksAllowed;
  listAllowedEks: Page<AllowedEkSummary>;
  removeAllowedEk: AllowedEkSummary;
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
