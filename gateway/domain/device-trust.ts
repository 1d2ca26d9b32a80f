import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceLack } from '#gateway/contract/ca-rollover-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { anchorsOf, type CaTrust, parseAnchors } from './ca-trust.ts';
import type { Device } from './device.ts';

/** What of a device matters when a CA is replaced. */
export type DeviceTrust = Pick<Device, 'deviceId' | 'group' | 'trustSeen' | 'trustSeenAt'> & {
  deviceId: DeviceId;
  /** Of its newest certificate in use. */
  serial: SerialNumber;
  issuerKeyId: string;
  notAfter: number;
};

/** What a device still needs before an older CA can be retired. */
export function lacksOf(trust: CaTrust, { trustSeen, issuerKeyId }: DeviceTrust): DeviceLack[] {
  const lacks: DeviceLack[] = [];
  const wanted = anchorsOf(trust).map(({ sha256 }) => sha256);
  const used = trustSeen === null ? assumed(trust, issuerKeyId) : parseAnchors(trustSeen);
  if (!wanted.every((sha256) => used.includes(sha256))) lacks.push('anchors');
  if (issuerKeyId !== trust.active.keyId) lacks.push('certificate');
  return lacks;
}

/** One that has never said anything knows the root it was enrolled under: without that it could not be connected. */
function assumed({ issuers }: CaTrust, issuerKeyId: string): string[] {
  const root = issuers.find(({ keyId }) => keyId === issuerKeyId)?.root;
  return root === undefined ? [] : [root.sha256];
}
