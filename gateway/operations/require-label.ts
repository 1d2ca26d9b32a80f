import type { Device } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';

/**
 * A label names the group that is asked for: over EST it stands in the path (RFC 7030 3.2.2), over MQTT in the message.
 * A device that is in a group asks in that one, or names none.
 * @throws GatewayError LABEL_UNKNOWN, LABEL_OF_ANOTHER_GROUP
 */
export async function requireOwnLabel(
  { groups }: Pick<Tables, 'groups'>,
  { deviceId, group }: Pick<Device, 'deviceId' | 'group'>,
  label: string | undefined,
): Promise<void> {
  if (label === undefined || label === group) return;
  const subject = { deviceId };
  if ((await groups.find(label)) === undefined) throw unknownLabel(label, { subject });
  throw new GatewayError('LABEL_OF_ANOTHER_GROUP', 'this device is in another group than the label names', { subject });
}

export function unknownLabel(label: string, facts: ConstructorParameters<typeof GatewayError>[2] = {}): GatewayError {
  return new GatewayError('LABEL_UNKNOWN', `there is no group "${label.slice(0, 63)}"`, facts);
}
