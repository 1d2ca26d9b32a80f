import { REQUEST } from './request-schemas.ts';
import { REVOCATION_REQUEST as TAKES } from './revocation-requests.ts';
import { type RouteDefinition, route } from './route-definition.ts';

/** What is revoked in every scope, how far it has come, and what is only on hold. */
export const REVOCATION_ROUTES: readonly RouteDefinition[] = [
  route('orderRevocation', {
    summary: 'Revoke everything in a scope; answers when it has ended, or after 3 s while it goes on',
    status: 201,
    response: 'Revocation',
    body: TAKES.order,
    answer: (operations, { body }, { actor }) => operations.orderRevocation({ ...body, actor }),
  }),
  route('planRevocation', {
    summary: 'What that would revoke now; nothing is changed',
    response: 'RevocationPlanned',
    body: TAKES.plan,
    answer: (operations, { body }) => operations.planRevocation(body),
  }),
  route('listRevocations', {
    summary: 'Revocations ordered so, newest first',
    response: 'RevocationPage',
    query: TAKES.jobsQuery,
    answer: (operations, { query }) => operations.listRevocations(query),
  }),
  route('showRevocation', {
    summary: 'How far one has come, and how fast its sessions were closed',
    response: 'Revocation',
    params: TAKES.jobParams,
    answer: (operations, { params }) => operations.showRevocation(params.jobId),
  }),
  route('listRevocationItems', {
    summary: 'Its certificates, by serial, each with its outcome',
    response: 'RevocationItemPage',
    params: TAKES.jobParams,
    query: TAKES.itemsQuery,
    answer: (operations, { params, query }) => operations.listRevocationItems({ id: params.jobId, ...query }),
  }),
  route('pauseRevocation', {
    summary: 'Revoke no more of it for now',
    response: 'Revocation',
    params: TAKES.jobParams,
    answer: (operations, { params }, { actor }) => operations.pauseRevocation({ id: params.jobId, actor }),
  }),
  route('resumeRevocation', {
    summary: 'Go on with one that was paused, at another rate if one is given',
    response: 'Revocation',
    params: TAKES.jobParams,
    body: TAKES.resumption,
    answer: (operations, { params, body }, { actor }) =>
      operations.resumeRevocation({ id: params.jobId, ...body, actor }),
  }),
  route('cancelRevocation', {
    summary: 'Leave what is left of it alone; what is revoked stays revoked',
    response: 'Revocation',
    params: TAKES.jobParams,
    answer: (operations, { params }, { actor }) => operations.cancelRevocation({ id: params.jobId, actor }),
  }),
  route('holdDevice', {
    summary: 'Put a device on hold (certificateHold) and close its session; it comes back with the same certificate',
    response: 'DeviceHeld',
    params: REQUEST.deviceParams,
    body: TAKES.hold,
    answer: (operations, { params, body }, caller) => operations.holdDevice({ ...params, why: body.reason, ...caller }),
  }),
  route('releaseDevice', {
    summary: 'End the hold of a device',
    response: 'DeviceReleased',
    params: REQUEST.deviceParams,
    answer: (operations, { params }, { actor }) => operations.releaseDevice({ ...params, actor }),
  }),
];
