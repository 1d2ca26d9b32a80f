import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Tables } from '#gateway/ports/store.ts';

/**
 * Two devices of one serial number in a group could not be told apart when one of them comes with its maker's
 * certificate. @returns the one that has this serial number already
 */
export async function findHardwareOwner(
  tables: Pick<Tables, 'devices'>,
  { deviceId, group, hardwareSerial }: Pick<Device, 'deviceId' | 'group' | 'hardwareSerial'>,
): Promise<DeviceId | undefined> {
  if (hardwareSerial === null) return undefined;
  const others = await tables.devices.listByHardwareSerial(hardwareSerial);
  return others.find((other) => other.deviceId !== deviceId && other.group === group)?.deviceId;
}
