import { ALARM_ROUTES } from './alarm-routes.ts';
import { CA_ROLLOVER_ROUTES } from './ca-rollover-routes.ts';
import { ENROLLMENT_ROUTES } from './enrollment-routes.ts';
import { RENEWAL_ROUTES } from './renewal-routes.ts';
import { REQUEST } from './request-schemas.ts';
import { REVOCATION_ROUTES } from './revocation-routes.ts';
import { type RouteDefinition, route } from './route-definition.ts';

const { deviceParams, groupParams, serialParams, ticketParams } = REQUEST;

/** The whole operator API: every route with what it takes, what it calls and what it gives. */
export const ROUTES: readonly RouteDefinition[] = [
  route('addDevice', {
    summary: 'Register a device and make its ticket',
    status: 201,
    response: 'DeviceAdded',
    body: REQUEST.newDevice,
    answer: (operations, { body }, { actor }) => operations.addDevice({ ...body, actor }),
  }),
  route('listDevices', {
    summary: 'Devices, by id',
    response: 'DevicePage',
    query: REQUEST.devicesQuery,
    answer: (operations, { query }) => operations.listDevices(query),
  }),
  route('showDevice', {
    summary: 'A device with its certificates, session and notices',
    response: 'DeviceDetail',
    params: deviceParams,
    answer: (operations, { params }) => operations.showDevice(params.deviceId),
  }),
  route('revokeDevice', {
    summary: 'Revoke all certificates of a device and close its sessions; answers when they are closed',
    response: 'DeviceRevoked',
    params: deviceParams,
    body: REQUEST.revocation,
    answer: (operations, { params, body }, caller) => operations.revokeDevice({ ...params, ...body, ...caller }),
  }),
  route('retireDevice', {
    summary: 'Revoke a device for good',
    response: 'DeviceRevoked',
    params: deviceParams,
    body: REQUEST.retirement,
    answer: (operations, { params, body }, caller) => operations.retireDevice({ ...params, ...body, ...caller }),
  }),
  route('renewDevice', {
    summary: 'Tell a device to renew its certificate now',
    response: 'RenewOrdered',
    params: deviceParams,
    body: REQUEST.renewal,
    answer: (operations, { params, body }, { actor }) => operations.orderRenewal({ ...params, ...body, actor }),
  }),
  route('replaceHardware', {
    summary: 'Another hardware takes the name: certificates revoked, TPM forgotten, new ticket',
    status: 201,
    response: 'HardwareReplaced',
    params: deviceParams,
    body: REQUEST.newHardware,
    answer: (operations, { params, body }, caller) => operations.replaceHardware({ ...params, ...body, ...caller }),
  }),
  route('addTicket', {
    summary: 'Make a new ticket for a device that is registered or revoked',
    status: 201,
    response: 'DeviceAdded',
    params: deviceParams,
    answer: (operations, { params }, { actor }) => operations.addTicket({ ...params, actor }),
  }),
  route('showProgress', {
    summary: 'What the gateway saw of a device since its newest ticket was made',
    response: 'EnrollmentProgress',
    params: deviceParams,
    answer: (operations, { params }) => operations.showProgress(params.deviceId),
  }),
  route('listCertificates', {
    summary: 'Certificates, newest first',
    response: 'CertificatePage',
    query: REQUEST.certificatesQuery,
    answer: (operations, { query }) => operations.listCertificates(query),
  }),
  route('showCertificate', {
    summary: 'A certificate with its PEM',
    response: 'CertificateDetail',
    params: serialParams,
    answer: (operations, { params }) => operations.showCertificate(params.serial),
  }),
  route('listGroups', {
    summary: 'Groups with their policy',
    response: 'GroupPage',
    query: REQUEST.pageQuery,
    // Groups are few: one page holds them all.
    answer: async (operations) => ({ items: await operations.listGroups(), nextCursor: null }),
  }),
  route('addGroup', {
    summary: 'Make a group; what its policy does not name is as in the default',
    status: 201,
    response: 'Group',
    body: REQUEST.newGroup,
    answer: (operations, { body }, { actor }) => operations.addGroup({ name: body.name, change: body.policy, actor }),
  }),
  route('showGroup', {
    summary: 'A group with its policy',
    response: 'Group',
    params: groupParams,
    answer: (operations, { params }) => operations.showGroup(params.name),
  }),
  route('setGroup', {
    summary: 'Change what is named of the policy of a group',
    response: 'Group',
    params: groupParams,
    body: REQUEST.policyChange,
    answer: (operations, { params, body }, { actor }) =>
      operations.setGroup({ name: params.name, change: body, actor }),
  }),
  route('listTickets', {
    summary: 'Tickets, newest first; never their secrets',
    response: 'TicketPage',
    query: REQUEST.pageQuery,
    answer: (operations, { query }) => operations.listTickets(query),
  }),
  route('revokeTicket', {
    summary: 'Take back a ticket that is not spent',
    response: 'Ticket',
    params: ticketParams,
    answer: (operations, { params }, { actor }) => operations.revokeTicket({ id: params.ticketId, actor }),
  }),
  route('addTpmRoot', {
    summary: 'Pin a CA certificate of a TPM maker',
    status: 201,
    response: 'TpmRoot',
    body: REQUEST.newTpmRoot,
    answer: (operations, { body: { certificate, ...rest } }, { actor }) =>
      operations.addTpmRoot({ der: certificate, ...rest, actor }),
  }),
  route('listTpmRoots', {
    summary: 'Pinned CA certificates of TPM makers',
    response: 'TpmRootPage',
    query: REQUEST.pageQuery,
    answer: (operations, { query }) => operations.listTpmRoots(query),
  }),
  route('removeTpmRoot', {
    summary: 'Trust this TPM maker no longer',
    response: 'TpmRoot',
    params: REQUEST.fingerprintParams,
    answer: (operations, { params }, { actor }) => operations.removeTpmRoot({ sha256: params.fingerprint, actor }),
  }),
  route('allowEks', {
    summary: 'Put endorsement keys on the allow list; again is harmless',
    response: 'EksAllowed',
    body: REQUEST.allowedEks,
    answer: (operations, { body }, { actor }) => operations.allowEks({ ...body, actor }),
  }),
  route('listAllowedEks', {
    summary: 'The allow list of endorsement keys',
    response: 'AllowedEkPage',
    query: REQUEST.pageQuery,
    answer: (operations, { query }) => operations.listAllowedEks(query),
  }),
  route('removeAllowedEk', {
    summary: 'Take an endorsement key off the allow list',
    response: 'AllowedEk',
    params: REQUEST.fingerprintParams,
    answer: (operations, { params }, { actor }) => operations.removeAllowedEk({ ekSha256: params.fingerprint, actor }),
  }),
  ...ENROLLMENT_ROUTES,
  ...REVOCATION_ROUTES,
  ...ALARM_ROUTES,
  ...RENEWAL_ROUTES,
  ...CA_ROLLOVER_ROUTES,
  route('listAudit', {
    summary: 'Audit events, newest first',
    response: 'AuditPage',
    query: REQUEST.auditQuery,
    answer: (operations, { query }) => operations.listAudit(query),
  }),
  route('describeCa', {
    summary: 'Root, intermediate and CRL',
    response: 'Ca',
    answer: (operations) => operations.describeCa(),
  }),
  route('checkHealth', {
    summary: 'Can the gateway issue and authenticate now?',
    response: 'Health',
    answer: async (operations) => ({ checks: await operations.checkHealth() }),
  }),
];
