import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DeviceRevoked, DeviceState } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { isRevocable } from '#gateway/domain/revocable.ts';
import type { Log } from '#gateway/ports/log.ts';
import { StoreError } from '#gateway/ports/store.ts';
import { type LandDeps, landRevocations, tenths } from './land-revocations.ts';
import type { RevocationPublisher } from './publish-revocations.ts';
import type { QueueNoticeDeps } from './queue-notice.ts';
import { type RecordedRevocation, recordDeviceRevocation } from './record-device-revocation.ts';

export type RevokeDeps = LandDeps & QueueNoticeDeps & { revocations: RevocationPublisher; log: Log };

export type RevocationOrder = {
  deviceId: DeviceId;
  reason: RevocationReason;
  actor: string;
  /** Monotonic milliseconds at which the request arrived. */
  requestedAt: number;
  /** `retired`: for good; `revoked`: a new ticket may bring it back. */
  becomes: Extract<DeviceState, 'revoked' | 'retired'>;
};

/**
 * Revokes a device and everything it could come back with, in this order: one transaction; the deny set; the live
 * sessions marked; the `revoked` notice, acknowledged within a second or not at all; the sockets closed, the will
 * suppressed; the fleet told and the CRL rebuilt.
 * @returns once the live sessions are closed and the CRL was rebuilt or its rebuilding is under way
 * @throws GatewayError NOT_FOUND
 */
export async function revokeDevice(deps: RevokeDeps, order: RevocationOrder): Promise<DeviceRevoked> {
  const { deviceId, reason, requestedAt } = order;
  const revoked = await recordOrShutOut(deps, order);
  const { serials } = revoked;
  const closed = await landRevocations(deps, [revoked], { reason, decidedAt: requestedAt });
  const closedAfterMs = closed.size === 0 ? 0 : tenths(deps.clock.monotonic() - requestedAt);
  if (serials.length > 0) {
    await deps.store.write((tables) => tables.revocations.setClosedAfter(serials, closedAfterMs));
    await deps.revocations.published();
  }
  deps.metrics.revocation(closedAfterMs / 1000, closed.size);
  deps.log.info('device revoked', { deviceId, reason, serials, sessionsClosed: closed.size, closedAfterMs });
  return { deviceId, serials, sessionsClosed: closed.size, closedAfterMs };
}

/**
 * A revocation must work on a full disk too: what cannot be recorded is at least carried out, and the operator is told
 * that it holds only until the gateway restarts.
 */
async function recordOrShutOut(deps: RevokeDeps, order: RevocationOrder): Promise<RecordedRevocation> {
  const { deviceId, reason, requestedAt } = order;
  const now = deps.clock.now();
  try {
    return await deps.store.write((tables) => recordDeviceRevocation(tables, deps, order, now));
  } catch (cause) {
    if (!(cause instanceof StoreError) || cause.code !== 'UNAVAILABLE') throw cause;
    const revocable = (await deps.store.read.certificates.listByDevice(deviceId)).filter((certificate) =>
      isRevocable(certificate, now),
    );
    const serials = revocable.map(({ serial }) => serial);
    await landRevocations(deps, [{ deviceId, serials, ended: [], noticeId: undefined }], {
      reason,
      decidedAt: requestedAt,
    });
    deps.log.error('revocation carried out but not recorded', { deviceId, reason });
    throw new GatewayError(
      'STORE_UNAVAILABLE',
      'the device is shut out until the gateway restarts, but the database cannot be written: free disk space and revoke it again',
      { cause },
    );
  }
}
