import { type DeviceId, isDeviceId } from '#gateway/contract/device-id.ts';
import { AgentError } from './agent-error.ts';

export type GatewayAddress = { host: string; port: number };

/** How certificates are renewed. `auto`: over EST, and over MQTT when EST cannot be reached. */
export const RENEW_WAYS = ['auto', 'est', 'mqtt'] as const;
export type RenewVia = (typeof RENEW_WAYS)[number];

/** `agent.json`: who this device is and which gateway it belongs to. Written by `enroll`, then only when MQTT moves. */
export type AgentConfig = {
  version: 1;
  est: GatewayAddress;
  mqtt: GatewayAddress;
  deviceId: DeviceId;
  trustDomain: string;
  /** SHA-256 of the whole root certificate, lower-case hexadecimal, as the join URL gave it. */
  rootSha256: string;
  /** Where the keys live; what is `tpm` never becomes `software`. */
  keyProvider: 'software' | 'tpm';
  renewVia: RenewVia;
};

/** Unknown fields are ignored, so a file from a newer agent is still read. @throws AgentError STATE_BROKEN */
export function parseAgentConfig(value: unknown): AgentConfig {
  if (typeof value !== 'object' || value === null) throw broken('it is not an object');
  const { version, est, mqtt, deviceId, trustDomain, rootSha256, keyProvider, renewVia } = value as Record<
    string,
    unknown
  >;
  if (version !== 1) throw broken('its version is not 1');
  if (!isGatewayAddress(est) || !isGatewayAddress(mqtt)) throw broken('the address of the gateway is missing');
  if (!isDeviceId(deviceId)) throw broken('the device id is missing');
  if (typeof trustDomain !== 'string') throw broken('the trust domain is missing');
  if (typeof rootSha256 !== 'string' || !/^[0-9a-f]{64}$/.test(rootSha256))
    throw broken('the root fingerprint is missing');
  // A key kept elsewhere is never replaced by a software key without a word.
  if (keyProvider !== 'software' && keyProvider !== 'tpm')
    throw broken(`this version cannot use keys of ${JSON.stringify(nameOf(keyProvider))}`);
  return {
    version: 1,
    est: { host: est.host, port: est.port },
    mqtt: { host: mqtt.host, port: mqtt.port },
    deviceId,
    trustDomain,
    rootSha256,
    keyProvider,
    renewVia: readRenewVia(renewVia),
  };
}

/** A file from an older agent has none. */
function readRenewVia(value: unknown): RenewVia {
  const way = value === undefined ? 'auto' : RENEW_WAYS.find((known) => known === value);
  if (way === undefined) throw broken(`renewVia is one of ${RENEW_WAYS.join(', ')}`);
  return way;
}

export function isGatewayAddress(value: unknown): value is GatewayAddress {
  if (typeof value !== 'object' || value === null) return false;
  const { host, port } = value as Record<string, unknown>;
  return typeof host === 'string' && host !== '' && isPort(port);
}

function nameOf(keyProvider: unknown): string {
  return typeof keyProvider === 'string' ? keyProvider.slice(0, 20) : typeof keyProvider;
}

export function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535;
}

/** For people; IPv6 addresses in brackets. */
export function formatAddress({ host, port }: GatewayAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function broken(why: string): AgentError {
  return new AgentError('STATE_BROKEN', `agent.json cannot be used: ${why}`, {
    advice: 'restore the state folder, or enroll into an empty one with a new ticket',
  });
}
