import { type AddDeviceDeps, addDevice, addTicket } from '#gateway/operations/add-device.ts';
import type { RolloverDeps } from '#gateway/operations/ca-rollover.ts';
import { checkExpiry, type ExpiryDeps } from '#gateway/operations/check-expiry.ts';
import { checkHealth, type HealthDeps } from '#gateway/operations/check-health.ts';
import { type ClaimDeps, claimTicket } from '#gateway/operations/claim-ticket.ts';
import {
  approveEnrollment,
  listEnrollmentRequests,
  refuseEnrollment,
  showEnrollmentRequest,
} from '#gateway/operations/decide-requests.ts';
import { describeCa } from '#gateway/operations/describe-ca.ts';
import { importDevices } from '#gateway/operations/import-devices.ts';
import { listCertificates, showCertificate } from '#gateway/operations/list-certificates.ts';
import { listDevices, showDevice } from '#gateway/operations/list-devices.ts';
import { allowEks, listAllowedEks, removeAllowedEk } from '#gateway/operations/manage-allowed-eks.ts';
import { addGroup, listGroups, setGroup, showGroup } from '#gateway/operations/manage-groups.ts';
import {
  addManufacturerCa,
  listManufacturerCas,
  type ManufacturerDeps,
  removeManufacturerCa,
} from '#gateway/operations/manage-manufacturer-cas.ts';
import {
  addRegistrar,
  listRegistrars,
  type RegistrarDeps,
  removeRegistrar,
} from '#gateway/operations/manage-registrars.ts';
import { listTickets, revokeTicket } from '#gateway/operations/manage-tickets.ts';
import { addTpmRoot, listTpmRoots, removeTpmRoot } from '#gateway/operations/manage-tpm-roots.ts';
import { type OrderRenewalDeps, orderRenewal } from '#gateway/operations/order-renewal.ts';
import type { OrderRevocationDeps } from '#gateway/operations/order-revocation.ts';
import { replaceHardware } from '#gateway/operations/replace-hardware.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { listAttempts, type ShowAttemptDeps, showAttempt } from '#gateway/operations/show-attempts.ts';
import { listAudit, showProgress } from '#gateway/operations/show-progress.ts';
import { type TestGroupDeps, testGroup } from '#gateway/operations/test-group.ts';
import { type AlarmDeps, bindAlarmOperations } from './bind-alarm-operations.ts';
import { bindCaRolloverOperations } from './bind-ca-rollover-operations.ts';
import { bindRenewalOperations, type RenewalDeps } from './bind-renewal-operations.ts';
import { bindRevocationOperations } from './bind-revocation-operations.ts';
import type { OperatorOperations } from './operator/operator-operations.ts';

export type BoundDeps = AddDeviceDeps &
  OrderRenewalDeps &
  OrderRevocationDeps &
  HealthDeps &
  ExpiryDeps &
  ClaimDeps &
  ManufacturerDeps &
  RegistrarDeps &
  ShowAttemptDeps &
  AlarmDeps &
  RolloverDeps &
  RenewalDeps &
  TestGroupDeps;

export function bindOperatorOperations(deps: BoundDeps): OperatorOperations {
  return {
    addDevice: (order) => addDevice(deps, order),
    addTicket: (order) => addTicket(deps, order),
    listDevices: (query) => listDevices(deps, query),
    showDevice: (deviceId) => showDevice(deps, deviceId),
    revokeDevice: (order) => revokeDevice(deps, { ...order, becomes: 'revoked' }),
    retireDevice: (order) => revokeDevice(deps, { ...order, becomes: 'retired' }),
    orderRenewal: (order) => orderRenewal(deps, order),
    showProgress: (deviceId) => showProgress(deps, deviceId),
    listCertificates: (query) => listCertificates(deps, query),
    showCertificate: (serial) => showCertificate(deps, serial),
    listGroups: () => listGroups(deps),
    showGroup: (name) => showGroup(deps, name),
    addGroup: (order) => addGroup(deps, order),
    setGroup: (order) => setGroup(deps, order),
    testGroup: (test) => testGroup(deps, test),
    listEnrollmentRequests: (query) => listEnrollmentRequests(deps, query),
    showEnrollmentRequest: (id) => showEnrollmentRequest(deps, id),
    approveEnrollment: (order) => approveEnrollment(deps, order),
    refuseEnrollment: (order) => refuseEnrollment(deps, order),
    showAttempt: (id) => showAttempt(deps, id),
    listAttempts: (query) => listAttempts(deps, query),
    claimTicket: (order) => claimTicket(deps, order),
    addManufacturerCa: (order) => addManufacturerCa(deps, order),
    listManufacturerCas: (query) => listManufacturerCas(deps, query),
    removeManufacturerCa: (order) => removeManufacturerCa(deps, order),
    addRegistrar: (order) => addRegistrar(deps, order),
    listRegistrars: () => listRegistrars(deps),
    removeRegistrar: (order) => removeRegistrar(deps, order),
    importDevices: (order) => importDevices(deps, order),
    listTickets: (query) => listTickets(deps, query),
    revokeTicket: (order) => revokeTicket(deps, order),
    replaceHardware: (order) => replaceHardware(deps, order),
    addTpmRoot: (order) => addTpmRoot(deps, order),
    listTpmRoots: (query) => listTpmRoots(deps, query),
    removeTpmRoot: (order) => removeTpmRoot(deps, order),
    allowEks: (order) => allowEks(deps, order),
    listAllowedEks: (query) => listAllowedEks(deps, query),
    removeAllowedEk: (order) => removeAllowedEk(deps, order),
    listAudit: (query) => listAudit(deps, query),
    ...bindRevocationOperations(deps),
    ...bindAlarmOperations(deps),
    ...bindRenewalOperations(deps),
    ...bindCaRolloverOperations(deps),
    describeCa: () => describeCa(deps),
    checkHealth: async () => [...(await checkHealth(deps)), ...(await checkExpiry(deps))],
  };
}
