import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { HardwareReplaced } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { type Device, isBarred } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { type AddDeviceDeps, addTicket } from './add-device.ts';
import { findHardwareOwner } from './find-look-alike.ts';
import { type RevokeDeps, revokeDevice } from './revoke-device.ts';

/**
 * An operator says that the hardware behind this name is another one from now on: the certificates of the old one are
 * revoked (`superseded`), its TPM is forgotten, and a new ticket lets the new one enroll. The proof level starts again
 * at what the new hardware shows; the group's policy is what keeps it up. Broken off in between, it may be asked again.
 * @param order.hardwareSerial of the new hardware; null when it has none; left out: as before. As long as the old one
 * stands there, the old board's certificate of its maker still stands for this device.
 * @param order.requestedAt monotonic milliseconds at which the request arrived
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT, ALREADY_EXISTS: another device has this hardware serial
 */
export async function replaceHardware(
  deps: RevokeDeps & AddDeviceDeps,
  order: { deviceId: DeviceId; hardwareSerial?: string | null; actor: string; requestedAt: number },
): Promise<HardwareReplaced> {
  const { deviceId, actor } = order;
  const device = await deps.store.read.devices.find(deviceId);
  if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
  if (isBarred(device)) {
    throw new GatewayError('STATE_CONFLICT', `"${deviceId}" is ${device.state}; its hardware is not replaced`);
  }
  const hardwareSerial = order.hardwareSerial === undefined ? device.hardwareSerial : order.hardwareSerial;
  // Before anything is revoked, and in the transaction again.
  await requireFreeSerial(deps.store.read, { ...device, hardwareSerial });
  const { requestedAt } = order;
  const ending = { deviceId, actor, requestedAt } as const;
  const { serials, sessionsClosed } = await revokeDevice(deps, { ...ending, reason: 'superseded', becomes: 'revoked' });
  const previousEkSha256 = await deps.store.write(async (tables) => {
    await requireFreeSerial(tables, { ...device, hardwareSerial });
    const known = await tables.endorsements.find(deviceId);
    await tables.endorsements.remove(deviceId);
    await tables.challenges.removeByDevice(deviceId);
    await tables.devices.update(deviceId, { proofLevel: 'software', hardwareSerial });
    await tables.audit.append(
      auditEntry({
        at: deps.clock.now(),
        actor,
        action: 'device.hardware-replaced',
        subject: deviceId,
        detail: [
          `proof level was ${device.proofLevel}`,
          ...(known === undefined ? [] : [`EK ${known.ekSha256}`]),
          ...(hardwareSerial === device.hardwareSerial
            ? []
            : [`hardware serial ${device.hardwareSerial} -> ${hardwareSerial}`]),
        ].join(', '),
      }),
    );
    return known?.ekSha256 ?? null;
  });
  return { ...(await addTicket(deps, { deviceId, actor })), serials, sessionsClosed, previousEkSha256 };
}

async function requireFreeSerial(read: Pick<Tables, 'devices'>, device: Device): Promise<void> {
  const owner = await findHardwareOwner(read, device);
  if (owner !== undefined) throw new GatewayError('ALREADY_EXISTS', owner.detail);
}
