import type { DeviceId } from './device-id.ts';

/** The topics of one device. `in` is written by the gateway, `out` by the device: they never overlap. */
export function deviceTopics(deviceId: DeviceId) {
  const base = `v1/d/${deviceId}`;
  return {
    /** signed notices, QoS 1 */
    notice: `${base}/in/notice`,
    /** answers to CSRs sent on `csr` */
    certificate: `${base}/in/certificate`,
    /** what applications send to the device */
    dataIn: `${base}/in/data`,
    csr: `${base}/out/csr`,
    ack: `${base}/out/ack`,
    /** the agent's own report; also its will */
    state: `${base}/out/state`,
    dataOut: `${base}/out/data`,
  } as const;
}

/** All that a claim, a maker's certificate, or a device's own one that has expired opens. */
export function enrollTopics(deviceId: DeviceId) {
  return { csr: `v1/enroll/${deviceId}/out/csr`, certificate: `v1/enroll/${deviceId}/in/certificate` } as const;
}

/** Retained, signed, readable by every device. */
export const FLEET_TOPICS = { revocations: 'v1/fleet/revocations', trust: 'v1/fleet/trust' } as const;

/** A topic (no wildcards) taken apart, or undefined when it is none of a device's. */
export function parseDeviceTopic(
  topic: string,
): { deviceId: string; direction: 'in' | 'out'; rest: string[] } | undefined {
  const [version, kind, deviceId, direction, ...rest] = topic.split('/');
  if (
    version !== 'v1' ||
    kind !== 'd' ||
    !deviceId ||
    (direction !== 'in' && direction !== 'out') ||
    rest.length === 0
  ) {
    return undefined;
  }
  return { deviceId, direction, rest };
}
