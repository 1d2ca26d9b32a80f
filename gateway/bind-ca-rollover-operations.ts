import {
  activateCa,
  announceCa,
  discardCa,
  listRolloverDevices,
  type RolloverDeps,
  retireCa,
  showRollover,
  taintCa,
} from '#gateway/operations/ca-rollover.ts';
import type { CaRolloverOperations } from './operator/ca-rollover-operations.ts';

export function bindCaRolloverOperations(deps: RolloverDeps): CaRolloverOperations {
  return {
    showCaRollover: () => showRollover(deps),
    listCaRolloverDevices: (query) => listRolloverDevices(deps, query),
    announceCa: (order) => announceCa(deps, order),
    discardCa: (order) => discardCa(deps, order),
    activateCa: (order) => activateCa(deps, order),
    taintCa: (order) => taintCa(deps, order),
    retireCa: (order) => retireCa(deps, order),
  };
}
