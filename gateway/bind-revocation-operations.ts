import { holdDevice, releaseDevice } from '#gateway/operations/hold-device.ts';
import { type OrderRevocationDeps, orderRevocation, planRevocation } from '#gateway/operations/order-revocation.ts';
import { listRevocationItems, listRevocations, showRevocation } from '#gateway/operations/show-revocations.ts';
import { cancelRevocation, pauseRevocation, resumeRevocation } from '#gateway/operations/steer-revocation.ts';
import type { RevocationOperations } from './operator/revocation-operations.ts';

export function bindRevocationOperations(deps: OrderRevocationDeps): RevocationOperations {
  return {
    orderRevocation: (order) => orderRevocation(deps, order),
    planRevocation: (target) => planRevocation(deps, target),
    listRevocations: (query) => listRevocations(deps, query),
    showRevocation: (id) => showRevocation(deps, id),
    listRevocationItems: (query) => listRevocationItems(deps, query),
    pauseRevocation: (order) => pauseRevocation(deps, order),
    resumeRevocation: (order) => resumeRevocation(deps, order),
    cancelRevocation: (order) => cancelRevocation(deps, order),
    holdDevice: (order) => holdDevice(deps, order),
    releaseDevice: (order) => releaseDevice(deps, order),
  };
}
