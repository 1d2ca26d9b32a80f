import type { GatewayAddress, RenewVia } from '#device-agent/domain/agent-config.ts';
import type { ManufacturerIdentity } from '#device-agent/domain/manufacturer-identity.ts';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { JoinUrl } from '#gateway/contract/join-url.ts';
import type { KeyKind } from '#gateway/contract/operator-api.ts';

/** A certificate of the device's maker opens EST or the enrolment topics of MQTT. */
export type ManufacturerWay = {
  identity: ManufacturerIdentity;
  via: 'est' | 'mqtt';
  /** Where that door is. */
  gateway: GatewayAddress;
  /** Where EST is, for later, when the first way is MQTT. */
  est?: GatewayAddress;
  /** How the gateway is known: DER, or the fingerprint of what EST shows, also when the rest goes over MQTT. */
  root: Buffer | { sha256: string };
  /** Left out: whatever name the gateway has for this hardware. */
  deviceId?: DeviceId;
};

/** By a join URL (ticket, over EST), by a claim (over MQTT), or by the maker's certificate. */
export type Grounds = { join: JoinUrl } | { claim: ClaimFile } | { manufacturer: ManufacturerWay };

export type EnrollOrder = Grounds & {
  keyKind: KeyKind;
  /** Open an MQTT session once, so that the gateway knows the certificate arrived. */
  confirm: boolean;
  /** Enroll although this folder holds an identity of the same device already. */
  replace: boolean;
  /** The group the device should be in: over EST in the path (RFC 7030 3.2.2), over MQTT in the messages. */
  label?: string;
  /** For later renewals; left out: `auto`. */
  renewVia?: RenewVia;
};

const ENROLL_STEPS = ['reach', 'verify', 'directory', 'connect', 'key', 'certificate', 'store', 'confirm'] as const;
export type EnrollStep = (typeof ENROLL_STEPS)[number];

/** Those that this order takes, in order. */
export function stepsOf(order: EnrollOrder): EnrollStep[] {
  return ENROLL_STEPS.filter((step) => {
    switch (step) {
      case 'reach':
        return enrollsVia(order) === 'mqtt' || pinnedSha256(order) !== undefined;
      case 'verify':
        return pinnedSha256(order) !== undefined;
      case 'directory':
        return enrollsVia(order) === 'est';
      case 'connect':
        return enrollsVia(order) === 'mqtt' && pinnedSha256(order) !== undefined;
      case 'key':
      case 'certificate':
      case 'store':
      case 'confirm':
        return true;
    }
  });
}

export function enrollsVia(order: EnrollOrder): 'est' | 'mqtt' {
  if ('join' in order) return 'est';
  return 'claim' in order ? 'mqtt' : order.manufacturer.via;
}

/** The fingerprint of a root that has to be fetched first, lower-case hexadecimal. */
function pinnedSha256(order: EnrollOrder): string | undefined {
  if ('join' in order) return order.join.rootSha256;
  if ('claim' in order || Buffer.isBuffer(order.manufacturer.root)) return undefined;
  return order.manufacturer.root.sha256;
}
