import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { HardwareReplaced } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { isBarred } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { type AddDeviceDeps, addTicket } from './add-device.ts';
import { type RevokeDeps, revokeDevice } from './revoke-device.ts';

/**
 * An operator says that the hardware behind this name is another one from now on: the certificates of the old one are
 * revoked (`superseded`), its TPM is forgotten, and a new ticket lets the new one enroll. The proof level starts again
 * at what the new hardware shows; the group's policy is what keeps it up. Broken off in between, it may be asked again.
 * @param order.requestedAt monotonic milliseconds at which the request arrived
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function replaceHardware(
  deps: RevokeDeps & AddDeviceDeps,
  order: { deviceId: DeviceId; actor: string; requestedAt: number },
): Promise<HardwareReplaced> {
  const { deviceId, actor } = order;
  const device = await deps.store.read.devices.find(deviceId);
  if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
  if (isBarred(device)) {
    throw new GatewayError('STATE_CONFLICT', `"${deviceId}" is ${device.state}; its hardware is not replaced`);
  }
  const { serials, sessionsClosed } = await revokeDevice(deps, { ...order, reason: 'superseded', becomes: 'revoked' });
  const previousEkSha256 = await deps.store.write(async (tables) => {
    const known = await tables.endorsements.find(deviceId);
    await tables.endorsements.remove(deviceId);
    await tables.challenges.removeByDevice(deviceId);
    await tables.devices.update(deviceId, { proofLevel: 'software' });
    await tables.audit.append(
      auditEntry({
        at: deps.clock.now(),
        actor,
        action: 'device.hardware-replaced',
        subject: deviceId,
        detail: `proof level was ${device.proofLevel}${known === undefined ? '' : `, EK ${known.ekSha256}`}`,
      }),
    );
    return known?.ekSha256 ?? null;
  });
  return { ...(await addTicket(deps, { deviceId, actor })), serials, sessionsClosed, previousEkSha256 };
}
