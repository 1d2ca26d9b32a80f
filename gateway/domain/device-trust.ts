import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceLack } from '#gateway/contract/ca-rollover-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { type CaTrust, lastingAnchorsOf, parseAnchors } from './ca-trust.ts';
import type { Device } from './device.ts';

/** What of a device matters when a CA is replaced. */
export type DeviceTrust = Pick<Device, 'deviceId' | 'group' | 'trustSeen' | 'trustSeenAt'> & {
  deviceId: DeviceId;
  /** Of its newest certificate in use. */
  serial: SerialNumber;
  issuerKeyId: string;
  notAfter: number;
  /** Issuer of the first certificate that this one goes back to by renewals; null: that is not on record. */
  enrolledUnder: string | null;
};

/** What a device still needs before an older CA can be retired. */
export function lacksOf(trust: CaTrust, { trustSeen, issuerKeyId, enrolledUnder }: DeviceTrust): DeviceLack[] {
  const lacks: DeviceLack[] = [];
  // Not the anchor that is to go: who has never had it, or has dropped it already, is the readiest of all.
  const wanted = lastingAnchorsOf(trust).map(({ sha256 }) => sha256);
  const used = trustSeen === null ? assumed(trust, enrolledUnder) : parseAnchors(trustSeen);
  if (!wanted.every((sha256) => used.includes(sha256))) lacks.push('anchors');
  if (issuerKeyId !== trust.active.keyId) lacks.push('certificate');
  return lacks;
}

/**
 * One that has never said anything knows the root it was enrolled under: without that it could not be connected. That it
 * has renewed under another says nothing: on the way to that the gateway shows NewWithOld.
 */
function assumed({ issuers }: CaTrust, enrolledUnder: string | null): string[] {
  const root = issuers.find(({ keyId }) => keyId === enrolledUnder)?.root;
  return root === undefined ? [] : [root.sha256];
}
