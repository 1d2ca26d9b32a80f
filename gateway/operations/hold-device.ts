import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DeviceHeld, DeviceReleased } from '#gateway/contract/revocation-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Device } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { HOLD, isHeld, isRevocable } from '#gateway/domain/revocable.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { endHoldNotices } from './end-hold-notices.ts';
import { landRevocations, tenths } from './land-revocations.ts';
import { markReleased, markRevoked } from './mark-revoked.ts';
import { queueRevokedNotice, type RecordedRevocation } from './record-device-revocation.ts';
import type { RevokeDeps } from './revoke-device.ts';
import { takeBackExpiries } from './take-back-expiry.ts';

/**
 * Takes a device off the air until it is released: its certificates stand on the CRL as certificateHold (RFC 5280
 * 5.3.1), its session is closed, and it gets neither ticket nor renewal. Then it comes back with the same certificate.
 * @param order.requestedAt monotonic milliseconds at which the request arrived
 * @throws GatewayError NOT_FOUND; STATE_CONFLICT unless it is registered or enrolled and has something to hold
 */
export async function holdDevice(
  deps: RevokeDeps,
  order: { deviceId: DeviceId; why: string; actor: string; requestedAt: number },
): Promise<DeviceHeld> {
  const { deviceId, requestedAt } = order;
  const now = deps.clock.now();
  const held = await deps.store.write((tables) => recordHold(tables, deps, order, now));
  const closed = await landRevocations(deps, [held], { reason: HOLD, decidedAt: requestedAt });
  const closedAfterMs = closed.size === 0 ? 0 : tenths(deps.clock.monotonic() - requestedAt);
  await deps.store.write((tables) => tables.revocations.setClosedAfter(held.serials, closedAfterMs));
  await deps.revocations.published();
  deps.metrics.revocation(closedAfterMs / 1000, closed.size);
  deps.log.info('device on hold', { deviceId, serials: held.serials, sessionsClosed: closed.size, closedAfterMs });
  return { deviceId, serials: held.serials, sessionsClosed: closed.size, closedAfterMs };
}

async function recordHold(
  tables: Tables,
  deps: RevokeDeps,
  { deviceId, why, actor }: { deviceId: DeviceId; why: string; actor: string },
  now: number,
): Promise<RecordedRevocation> {
  const device = await requireDevice(tables, deviceId);
  if (device.state !== 'enrolled' && device.state !== 'registered')
    throw new GatewayError('STATE_CONFLICT', `"${deviceId}" is ${device.state} and cannot be put on hold`);
  await takeBackExpiries(tables, deviceId, now);
  const standing = (await tables.certificates.listByDevice(deviceId)).filter((one) => isRevocable(one, now));
  if (standing.length === 0)
    throw new GatewayError('STATE_CONFLICT', `"${deviceId}" has no certificate that could be put on hold`);
  for (const certificate of standing) {
    await markRevoked(tables, certificate, { reason: HOLD, now, requestedBy: actor });
  }
  // What is being made for it now must not come in past the hold.
  for (const { id } of await tables.enrollments.listUnfinishedByDevice(deviceId)) {
    await tables.enrollments.update(id, { state: 'abandoned', updatedAt: now });
  }
  const serials = standing.map(({ serial }) => serial);
  await tables.devices.update(deviceId, { state: 'held' });
  await tables.audit.append(
    auditEntry({ at: now, actor, action: 'device.held', subject: deviceId, detail: `${why} (${serials.join(', ')})` }),
  );
  const advice = `an operator put this device on hold (${why}); leave it running: it is let in again once released`;
  const noticeId = await queueRevokedNotice(tables, deps, { deviceId, serials, reason: HOLD, advice, actor, now });
  return { deviceId, serials, ended: [], noticeId };
}

/**
 * Ends a hold: the certificates are what they were, as far as their dates still allow, and leave the CRL.
 * @throws GatewayError NOT_FOUND; STATE_CONFLICT when it is not on hold
 */
export async function releaseDevice(
  deps: RevokeDeps,
  { deviceId, actor }: { deviceId: DeviceId; actor: string },
): Promise<DeviceReleased> {
  const now = deps.clock.now();
  const serials = await deps.store.write(async (tables) => {
    const device = await requireDevice(tables, deviceId);
    if (device.state !== 'held') throw new GatewayError('STATE_CONFLICT', `"${deviceId}" is not on hold`);
    const held = (await tables.certificates.listByDevice(deviceId)).filter(isHeld);
    for (const certificate of held) await markReleased(tables, certificate, now);
    const wasInUse = held.some(({ activatedAt }) => activatedAt !== null);
    await tables.devices.update(deviceId, { state: wasInUse ? 'enrolled' : 'registered' });
    await endHoldNotices(tables, deviceId, now);
    const released = held.map(({ serial }) => serial);
    await tables.audit.append(
      auditEntry({
        at: now,
        actor,
        action: 'device.released',
        subject: deviceId,
        detail: released.length === 0 ? 'nothing of it was left' : released.join(', '),
      }),
    );
    return released;
  });
  // After the commit: whoever comes now finds it released in the table, too.
  deps.denySet.remove(serials);
  await deps.revocations.published();
  deps.log.info('device released from hold', { deviceId, serials });
  return { deviceId, serials };
}

async function requireDevice(tables: Tables, deviceId: DeviceId): Promise<Device> {
  const device = await tables.devices.find(deviceId);
  if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
  return device;
}
