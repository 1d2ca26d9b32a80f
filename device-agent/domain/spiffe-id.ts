import { type DeviceId, isDeviceId } from '#gateway/contract/device-id.ts';

/** The name in a device certificate, `spiffe://<trust domain>/device/<device id>`. @returns undefined for any other URI. */
export function readSpiffeId(uri: string): { trustDomain: string; deviceId: DeviceId } | undefined {
  const [, trustDomain, deviceId] = /^spiffe:\/\/([^/]+)\/device\/([^/]+)$/.exec(uri) ?? [];
  return trustDomain !== undefined && isDeviceId(deviceId) ? { trustDomain, deviceId } : undefined;
}
