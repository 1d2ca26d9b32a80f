import { ENROLLMENT_REQUEST as TAKES } from './enrollment-requests.ts';
import { REQUEST } from './request-schemas.ts';
import { type RouteDefinition, route } from './route-definition.ts';

/** A thousand devices with long owners; everything else that is sent is far smaller. */
const MAX_IMPORT_BYTES = 2 * 1024 * 1024;

/** Who may enroll, who waits for a person, and how each try went. */
export const ENROLLMENT_ROUTES: readonly RouteDefinition[] = [
  route('listEnrollmentRequests', {
    summary: 'First enrollments that wait, or waited, for a person; newest first',
    response: 'EnrollmentRequestPage',
    query: TAKES.requestsQuery,
    answer: (operations, { query }) => operations.listEnrollmentRequests(query),
  }),
  route('showEnrollmentRequest', {
    summary: 'One of them',
    response: 'EnrollmentRequest',
    params: TAKES.requestParams,
    answer: (operations, { params }) => operations.showEnrollmentRequest(params.requestId),
  }),
  route('approveEnrollment', {
    summary: 'Let this device have a certificate for this very key when it asks again',
    response: 'EnrollmentRequest',
    params: TAKES.requestParams,
    body: TAKES.approval,
    answer: (operations, { params, body }, { actor }) =>
      operations.approveEnrollment({ id: params.requestId, ...body, actor }),
  }),
  route('refuseEnrollment', {
    summary: 'Refuse it; the device is told the reason',
    response: 'EnrollmentRequest',
    params: TAKES.requestParams,
    body: TAKES.refusal,
    answer: (operations, { params, body }, { actor }) =>
      operations.refuseEnrollment({ id: params.requestId, ...body, actor }),
  }),
  route('listAttempts', {
    summary: 'Tries to get a certificate, newest first',
    response: 'AttemptPage',
    query: TAKES.attemptsQuery,
    answer: (operations, { query }) => operations.listAttempts(query),
  }),
  route('showAttempt', {
    summary: 'One try: its steps, the one that failed, the reason, the next action',
    response: 'Attempt',
    params: TAKES.attemptParams,
    answer: (operations, { params }) => operations.showAttempt(params.attemptId),
  }),
  route('claimTicket', {
    summary: 'Turn the open ticket of a device into a short-lived certificate that may only enroll',
    status: 201,
    response: 'TicketClaimed',
    params: REQUEST.deviceParams,
    body: TAKES.claim,
    answer: (operations, { params, body }, { actor }) => operations.claimTicket({ ...params, ...body, actor }),
  }),
  route('importDevices', {
    summary: 'Register many devices; again is harmless, and each entry has its own outcome',
    response: 'DevicesImported',
    bodyLimit: MAX_IMPORT_BYTES,
    body: TAKES.newDevices,
    answer: (operations, { body }, { actor }) => operations.importDevices({ ...body, actor }),
  }),
  route('addManufacturerCa', {
    summary: "Let devices with certificates of this maker's CA ask for enrollment in the group",
    status: 201,
    response: 'ManufacturerCa',
    params: REQUEST.groupParams,
    body: TAKES.newManufacturer,
    answer: (operations, { params, body: { certificate, ...rest } }, { actor }) =>
      operations.addManufacturerCa({ group: params.name, der: certificate, ...rest, actor }),
  }),
  route('removeManufacturerCa', {
    summary: 'Trust this CA no longer in the group; certificates already issued stand',
    response: 'ManufacturerCa',
    params: TAKES.manufacturerParams,
    answer: (operations, { params }, { actor }) =>
      operations.removeManufacturerCa({ group: params.name, sha256: params.fingerprint, actor }),
  }),
  route('listManufacturerCas', {
    summary: 'CAs of makers that groups trust',
    response: 'ManufacturerCaPage',
    query: TAKES.manufacturersQuery,
    // They are few: one page holds them all.
    answer: async (operations, { query: { group } }) => ({
      items: await operations.listManufacturerCas(group === undefined ? {} : { group }),
      nextCursor: null,
    }),
  }),
  route('addRegistrar', {
    summary: 'Certify somebody who enrolls devices of these groups on their behalf',
    status: 201,
    response: 'RegistrarAdded',
    body: TAKES.newRegistrar,
    answer: (operations, { body }, { actor }) => operations.addRegistrar({ ...body, actor }),
  }),
  route('listRegistrars', {
    summary: 'Registrars and their groups',
    response: 'RegistrarPage',
    query: REQUEST.pageQuery,
    // They are few: one page holds them all.
    answer: async (operations) => ({ items: await operations.listRegistrars(), nextCursor: null }),
  }),
  route('removeRegistrar', {
    summary: 'Revoke the certificate of a registrar',
    response: 'Registrar',
    params: TAKES.registrarParams,
    answer: (operations, { params }, { actor }) => operations.removeRegistrar({ ...params, actor }),
  }),
  route('testGroup', {
    summary: 'What a first enrollment would get and why; changes nothing',
    response: 'GroupTested',
    params: REQUEST.groupParams,
    body: TAKES.groupTest,
    answer: (operations, { params, body }) => operations.testGroup({ ...params, ...body }),
  }),
];
