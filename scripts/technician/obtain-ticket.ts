import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import { CommandError } from '#scripts/command-line/command-error.ts';
import type { OperatorClient } from '#scripts/command-line/operator-client.ts';

/**
 * Registers the device, or makes another ticket when it is registered already or was revoked.
 * @throws CommandError STATE_CONFLICT for a device that is enrolled: a new key never displaces an accepted one by itself
 */
export async function obtainTicket(operator: OperatorClient, deviceId: DeviceId, group?: string): Promise<DeviceAdded> {
  try {
    return await operator.call<DeviceAdded>('addDevice', { body: { deviceId, group } });
  } catch (error) {
    if (!(error instanceof CommandError) || error.reason !== 'ALREADY_EXISTS') throw error;
  }
  return operator.call<DeviceAdded>('addTicket', { params: [deviceId], body: {} });
}
