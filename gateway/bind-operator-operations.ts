import { parseRevocationReason, REVOCATION_REASONS, type RevocationReason } from '#ca/revocation/reasons.ts';
import { DEVICE_ID_RULE, type DeviceId, isDeviceId } from '#gateway/contract/device-id.ts';
import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import type {
  GroupPolicyChange,
  OperatorRequests,
  OperatorResponses,
  OperatorRoute,
} from '#gateway/contract/operator-paths.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { type AddDeviceDeps, addDevice, addTicket } from '#gateway/operations/add-device.ts';
import { checkHealth, type HealthDeps } from '#gateway/operations/check-health.ts';
import { describeCa } from '#gateway/operations/describe-ca.ts';
import { listCertificates, showCertificate } from '#gateway/operations/list-certificates.ts';
import { listDevices, showDevice } from '#gateway/operations/list-devices.ts';
import { addGroup, listGroups, setGroup, showGroup } from '#gateway/operations/manage-groups.ts';
import { listTickets, revokeTicket } from '#gateway/operations/manage-tickets.ts';
import { type OrderRenewalDeps, orderRenewal } from '#gateway/operations/order-renewal.ts';
import { type RevokeDeps, revokeDevice } from '#gateway/operations/revoke-device.ts';
import { listAudit, showProgress } from '#gateway/operations/show-progress.ts';

export type OperatorDeps = AddDeviceDeps & OrderRenewalDeps & RevokeDeps & HealthDeps;

/** Who asks, as it goes into the audit, e.g. `local:root`. */
type Actor = string;

export type BoundOperations = {
  [R in OperatorRoute]: (request: OperatorRequests[R], actor: Actor) => Promise<OperatorResponses[R]>;
};

const PAGE_LIMIT = 100;

/** The operator API's routes over the operations: what a request means, and the types the operations insist on. */
export function bindOperatorOperations(deps: OperatorDeps): BoundOperations {
  const page = (request: { after?: string | undefined; limit?: number | undefined }) => ({
    after: request.after,
    limit: request.limit ?? PAGE_LIMIT,
  });
  const revoke = (
    request: { deviceId: string },
    reason: RevocationReason,
    actor: Actor,
    becomes: 'revoked' | 'retired',
  ) =>
    revokeDevice(deps, { deviceId: deviceIdOf(request), reason, actor, becomes, requestedAt: deps.clock.monotonic() });
  return {
    addDevice: ({ deviceId, ...more }, actor) =>
      addDevice(deps, { deviceId: deviceIdOf({ deviceId }), ...defined(more), actor }),
    addTicket: (request, actor) => addTicket(deps, { deviceId: deviceIdOf(request), actor }),
    listDevices: ({ group, state, ...request }) =>
      listDevices(deps, { ...page(request), ...defined({ group, state }) }),
    showDevice: (request) => showDevice(deps, deviceIdOf(request)),
    revokeDevice: async ({ reason, ...request }, actor) => revoke(request, reasonOf(reason), actor, 'revoked'),
    retireDevice: async ({ reason, ...request }, actor) =>
      revoke(request, reasonOf(reason ?? 'cessationOfOperation'), actor, 'retired'),
    renewDevice: ({ reason, ...request }, actor) =>
      orderRenewal(deps, { deviceId: deviceIdOf(request), actor, ...defined({ reason }) }),
    showProgress: (request) => showProgress(deps, deviceIdOf(request)),
    listCertificates: ({ state, deviceId, ...request }) =>
      listCertificates(deps, {
        ...page(request),
        ...defined({ state }),
        ...(deviceId === undefined ? {} : { deviceId: deviceIdOf({ deviceId }) }),
      }),
    showCertificate: ({ serial }) => showCertificate(deps, serial),
    listGroups: async () => ({ items: await listGroups(deps), nextCursor: null }),
    addGroup: ({ name, policy }, actor) => addGroup(deps, { name, change: changeOf(policy ?? {}), actor }),
    showGroup: ({ name }) => showGroup(deps, name),
    setGroup: ({ name, ...change }, actor) => setGroup(deps, { name, change: changeOf(change), actor }),
    listTickets: (request) => listTickets(deps, page(request)),
    revokeTicket: ({ ticketId }, actor) => revokeTicket(deps, { id: ticketId, actor }),
    listAudit: ({ after, limit, ...filter }) => listAudit(deps, { ...page({ after, limit }), ...defined(filter) }),
    describeCa: () => describeCa(deps),
    checkHealth: async () => ({ checks: await checkHealth(deps) }),
  };
}

function deviceIdOf({ deviceId }: { deviceId: string }): DeviceId {
  if (!isDeviceId(deviceId)) throw new GatewayError('REQUEST_INVALID', `this is not a device id: ${DEVICE_ID_RULE}`);
  return deviceId;
}

function reasonOf(text: string): RevocationReason {
  const reason = parseRevocationReason(text);
  if (reason === undefined) {
    throw new GatewayError(
      'REQUEST_INVALID',
      `"${text.slice(0, 40)}" is not a revocation reason; use one of ${REVOCATION_REASONS.join(', ')}`,
    );
  }
  return reason;
}

function changeOf(change: GroupPolicyChange): Partial<GroupPolicy> {
  return defined(change);
}

/** Without the fields that are undefined: "not said" must not overwrite what is there. */
function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
