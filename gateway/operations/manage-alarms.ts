import type { IdentityAlarmDetail } from '#gateway/contract/alarm-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AlarmState, Page } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { IdentityAlarm } from '#gateway/domain/identity-alarm.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { page } from './list-devices.ts';
import { readEvidence } from './quarantine-device.ts';
import { recordResolved } from './resolve-alarms.ts';

export type AlarmDeps = { store: Store; clock: Clock };

/** Newest first. */
export async function listAlarms(
  { store }: Pick<AlarmDeps, 'store'>,
  query: { after?: string | undefined; limit: number; state?: AlarmState; deviceId?: DeviceId },
): Promise<Page<IdentityAlarmDetail>> {
  const alarms = await store.read.identityAlarms.list(query);
  return page(alarms.map(detailOf), query.limit, ({ id }) => id);
}

/** @throws GatewayError NOT_FOUND */
export async function showAlarm({ store }: Pick<AlarmDeps, 'store'>, id: string): Promise<IdentityAlarmDetail> {
  return detailOf(found(await store.read.identityAlarms.find(id), id));
}

/**
 * Closes an alarm with what was decided. A quarantine stays: it ends with releaseQuarantine, or with the certificates.
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function resolveAlarm(
  { store, clock }: AlarmDeps,
  order: { id: string; decision: string; actor: string },
): Promise<IdentityAlarmDetail> {
  const { id } = order;
  return store.write(async (tables) => {
    const { state, deviceId, resolvedBy } = found(await tables.identityAlarms.find(id), id);
    if (state === 'resolved') throw new GatewayError('STATE_CONFLICT', `${id} was resolved by ${resolvedBy ?? '-'}`);
    await recordResolved(tables, { ...order, deviceId, now: clock.now() });
    return detailOf(found(await tables.identityAlarms.find(id), id));
  });
}

function found(alarm: IdentityAlarm | undefined, id: string): IdentityAlarm {
  if (alarm !== undefined) return alarm;
  throw new GatewayError('NOT_FOUND', `there is no alarm "${id}"`);
}

function detailOf(alarm: IdentityAlarm): IdentityAlarmDetail {
  return { ...alarm, evidence: readEvidence(alarm) };
}
