/** The name of a device: one path segment of a SPIFFE id, one level of an MQTT topic, one CN. */
export type DeviceId = string & { readonly __brand: 'DeviceId' };

/** SPIFFE path characters (SPIFFE-ID 2.2), so a deviceId needs no escaping in a URI, a topic or a file name. */
const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export const DEVICE_ID_RULE = 'a device id is 1 to 63 of A-Z a-z 0-9 . _ - and starts with a letter or digit';

export function isDeviceId(text: unknown): text is DeviceId {
  return typeof text === 'string' && DEVICE_ID.test(text);
}

/** @throws RangeError when the text is not a device id. */
export function parseDeviceId(text: string): DeviceId {
  if (!isDeviceId(text)) throw new RangeError(`"${text.slice(0, 80)}" is not a device id: ${DEVICE_ID_RULE}`);
  return text;
}
