import type { Device } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';

type Read = Pick<Tables, 'devices'>;
type Named = Pick<Device, 'deviceId' | 'group' | 'hardwareSerial'>;

export type LookAlike = Pick<Device, 'deviceId'> & {
  /** For people: what the two have in common. */
  detail: string;
};

/**
 * Two devices of one serial number in a group could not be told apart when one of them comes with its maker's
 * certificate, and two whose names or serial numbers differ in capitals or spaces alone not by people.
 * @param device about to be registered @returns the one that is registered already
 */
export async function findLookAlike(read: Read, device: Named): Promise<LookAlike | undefined> {
  const namesake = (await read.devices.listByName(device.deviceId)).find(
    ({ deviceId }) => deviceId !== device.deviceId,
  );
  if (namesake === undefined) return findHardwareOwner(read, device);
  const { deviceId } = namesake;
  return { deviceId, detail: `the device "${deviceId}" is registered, whose name differs in capitals alone` };
}

/** @returns another device of the group that has this hardware serial, capitals and spaces apart */
export async function findHardwareOwner(
  read: Read,
  { deviceId, group, hardwareSerial }: Named,
): Promise<LookAlike | undefined> {
  if (hardwareSerial === null) return undefined;
  const owner = (await read.devices.listByHardwareSerial(hardwareSerial)).find(
    (other) => other.deviceId !== deviceId && other.group === group,
  );
  if (owner === undefined) return undefined;
  const detail =
    owner.hardwareSerial === hardwareSerial
      ? `"${owner.deviceId}" has this hardware serial`
      : `"${owner.deviceId}" has the hardware serial "${owner.hardwareSerial}", which differs in capitals or spaces alone`;
  return { deviceId: owner.deviceId, detail };
}

/** For one that comes by itself, in a group that takes those. @throws GatewayError DEVICE_LOOKS_ALIKE */
export async function requireNoLookAlike(read: Read, device: Named): Promise<void> {
  const other = await findLookAlike(read, device);
  if (other !== undefined) throw looksAlike(other);
}

export function looksAlike({ deviceId, detail }: LookAlike): GatewayError {
  return new GatewayError('DEVICE_LOOKS_ALIKE', `this looks like a device that is there already: ${detail}`, {
    subject: { deviceId },
  });
}
